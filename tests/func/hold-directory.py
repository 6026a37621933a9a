# SPDX-License-Identifier: LGPL-2.1-or-later
"""
hold-directory.py FOLDER FILE READY   lists a folder into pages of a file that a file system
                                      which hangs should fill: until then nobody else can
                                      change what is known of the folder's names.  Makes
                                      READY, and begins when READY.go is there.
"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
folder = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
hangs = os.open(sys.argv[2], os.O_RDONLY)
# pages that nobody has read yet, which writing to needs
room = libc.mmap(None, 65536, 3, 2, hangs, 65536)
open(sys.argv[3], "w").close()
while not os.path.exists(sys.argv[3] + ".go"): # busy, to be told from what hangs
    pass
n = libc.syscall(217 if os.uname().machine == "x86_64" else 61, folder, ctypes.c_void_p(room), 65536)
sys.exit(n <= 0)
