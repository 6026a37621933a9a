# SPDX-License-Identifier: LGPL-2.1-or-later
"""links.py DOCUMENT...: says which links, names of manual pages and of their sections lead nowhere,
which documents and pages the index has not, and which words of programs are no words of theirs.
"""
import glob
import os
import re
import sys

# of the system, as far as the documents speak of them
SYSTEM = set(
    "epoll(7) free(1) fusermount3(1) inotify(7) ls(1) lscpu(1) poll(2) systemd-sysusers(8) systemd.preset(5) "
    "uname(1) virsh(1) write(2)".split()
)
GENERATED = {"vhostmd-metrics(7)"}
wrong = []


def say(path, text):
    wrong.append(f"{path}: {text}")


def prose(text):
    """Without blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)


def slug(heading):
    """The anchor that it has on a page in a browser."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(path):
    return {slug(h) for h in re.findall(r"^#+ (.*)$", prose(open(path).read()), re.M)}


def page_name(path):
    name, section = os.path.basename(path)[: -len(".scd")].rsplit(".", 1)
    return f"{name}({section})"


pages = {page_name(p): p for p in glob.glob("docs/man/*.scd")}
sections = {n: set(re.findall(r"^# (.*)$", open(p).read(), re.M)) for n, p in pages.items()}
references = re.compile(r"\b([a-z][a-z0-9_.-]*\([1-8]\))(?:,\s+\"?([A-Z][A-Z' ]+[A-Z]))?")


def check_names(path, text):
    text = re.sub(r"[*_](?=\w)|(?<=\w)[*_]|\\", "", text) if path.endswith(".scd") else text
    for name, section in references.findall(text):
        section = " ".join(section.split())
        if name not in pages and name not in SYSTEM | GENERATED:
            say(path, f"there is no {name}")
        elif section and name in pages and not any(s.startswith(section) for s in sections[name]):
            say(path, f"{name} has no section {section}")
    for section, name in re.findall(r"\"?\b([A-Z][A-Z' ]+[A-Z])\"? in\s+([a-z.-]+\([1-8]\))", text):
        if name in pages and section not in sections[name]:
            say(path, f"{name} has no section {section}")


def check_links(path, text):
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            say(path, f"{target} is not checked")
            continue
        file, _, anchor = target.partition("#")
        file = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        if not os.path.exists(file):
            say(path, f"there is no {target}")
        elif anchor and anchor not in anchors(file):
            say(path, f"{file} has no {anchor}")


def check_index():
    text = open("docs/README.md").read()
    for path in glob.glob("docs/*.md"):
        name = os.path.basename(path)
        if name != "README.md" and f"({name})" not in text:
            say("docs/README.md", f"{name} is missing")
    for name in set(pages) | GENERATED:
        if f"| {name} |" not in text:
            say("docs/README.md", f"{name} is missing")


def literals(*folders):
    """All texts of the programs, those of several lines in one."""
    source = "\n".join(
        open(p).read() for f in folders for p in glob.glob(f"{f}/**/*.c", recursive=True)
    )
    source = re.sub(r"\"\s*(?:PRI[a-z0-9]+|VHOSTMD_VERSION)?\s*\n?\s*\"", "", source)
    return source.replace('\\"', '"')


def check_what_is_said(path):
    """The second column of the tables: what programs say, with ... for what varies."""
    said = literals("src", "ctl", "guest")
    n = 0
    for row in open(path):
        cells = row.strip().split(" | ")
        if not row.startswith("|") or len(cells) != 3:
            continue
        for quoted in re.findall(r"`([^`]*)`", cells[1]):
            n += 1
            for part in re.split(r"\.\.\.+|'a b'", quoted):
                # without what a format has there
                part = part.strip(" ()':;/")
                if len(part) > 3 and part not in said and not part.startswith(("vhostmd --", "vm-dump", "--")):
                    say(path, f"nobody says '{part}'")
    if n < 40:
        say(path, f"{n} quotations only")


def check_figures(path):
    """Figures of the benchmarks are called so there."""
    benches = "\n".join(
        open(p).read()
        for p in glob.glob("tests/bench/*.*") + glob.glob("tests/bench/lib/*") + ["tests/guest/rediscover.sh", "tests/func/survive.py"]
    )
    names = re.findall(r"^\| `([a-z0-9_]+)\.([a-z0-9_]+)`", open(path).read(), re.M)
    for prefix, name in names:
        # as a script has it, or with what it has variables for
        forms = [name, name.removeprefix("hostile_"), name.replace("echo", "$what")]
        forms += [re.sub("hour_growth_worker_memory", "growth_{who}_{what}", name), name.replace("vms_back", "$1")]
        if prefix not in benches or not any(re.search(rf"(?<!\w){re.escape(f)}(?!\w)", benches) for f in forms):
            say(path, f"no benchmark prints {prefix}.{name}")
    if len(names) < 25:
        say(path, f"{len(names)} figures only")


for path in sys.argv[1:]:
    text = prose(open(path).read())
    check_names(path, text)
    if path.endswith(".md"):
        check_links(path, text)
if os.path.exists("docs/README.md"):
    check_index()
check_what_is_said("docs/troubleshooting.md")
check_figures("docs/performance.md")
print("\n".join(wrong))
sys.exit(bool(wrong))
