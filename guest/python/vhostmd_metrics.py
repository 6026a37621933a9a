# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the host of this virtual machine says of itself and of the machine.

    with vhostmd_metrics.Source() as source:
        now = source.read()
        print(now.host["HostName"], now.vm["vcpu.0.delay"])

libmetrics(3) explains sources, snapshots and what two of them tell; this is that library.
"""
import collections.abc
import ctypes
import enum

__all__ = ["Error", "Missing", "Freshness", "Source", "Snapshot", "Metric"]

_lib = ctypes.CDLL("libmetrics.so.0")
_HOST, _VM = 0, 1
_STRING, _REALS = 6, (4, 5)


def _declare(name, result, *arguments):
    function = getattr(_lib, name)
    function.restype = result
    function.argtypes = arguments
    return function


_p, _s, _i = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_pp = ctypes.POINTER(ctypes.c_void_p)
_reals = ctypes.POINTER(ctypes.c_double)
_strerror = _declare("vhostmd_strerror", _s, _i)
_open = _declare("vhostmd_open", _i, _s, _pp)
_close = _declare("vhostmd_close", None, _p)
_set_timeout = _declare("vhostmd_set_timeout", _i, _p, ctypes.c_uint)
_set_uuid = _declare("vhostmd_set_uuid", _i, _p, _s)
_tried = _declare("vhostmd_tried", _s, _p)
_read = _declare("vhostmd_read", _i, _p, _pp)
_free = _declare("vhostmd_snapshot_free", None, _p)
_xml = _declare("vhostmd_snapshot_xml", _s, _p, ctypes.POINTER(ctypes.c_size_t))
_path = _declare("vhostmd_snapshot_path", _s, _p)
_is_channel = _declare("vhostmd_snapshot_is_channel", _i, _p)
_uuid = _declare("vhostmd_snapshot_uuid", _s, _p)
_age = _declare("vhostmd_snapshot_age", ctypes.c_double, _p)
_freshness = _declare("vhostmd_snapshot_freshness", _i, _p)
_session = _declare("vhostmd_snapshot_session", _i, _p, ctypes.POINTER(ctypes.c_uint64))
_count = _declare("vhostmd_snapshot_count", ctypes.c_size_t, _p)
_at = _declare("vhostmd_snapshot_at", _p, _p, ctypes.c_size_t)
_find = _declare("vhostmd_find", _i, _p, _i, _s, _pp)
_metric_name = _declare("vhostmd_metric_name", _s, _p)
_metric_context = _declare("vhostmd_metric_context", _i, _p)
_metric_type = _declare("vhostmd_metric_type", _i, _p)
_metric_unit = _declare("vhostmd_metric_unit", _s, _p)
_metric_text = _declare("vhostmd_metric_text", _s, _p)
_metric_u64 = _declare("vhostmd_metric_u64", _i, _p, ctypes.POINTER(ctypes.c_uint64))
_metric_i64 = _declare("vhostmd_metric_i64", _i, _p, ctypes.POINTER(ctypes.c_int64))
_metric_real = _declare("vhostmd_metric_real", _i, _p, _reals)
_metric_age = _declare("vhostmd_metric_age", ctypes.c_double, _p, _p)
_deltas_valid = _declare("vhostmd_deltas_valid", _i, _p, _p)
_elapsed = _declare("vhostmd_elapsed", ctypes.c_double, _p, _p)
_rate = _declare("vhostmd_rate", _i, _p, _p, _i, _s, _reals)


class Error(Exception):
    """Something failed: `code` is one of enum vhostmd_error, `details` what was tried."""

    def __init__(self, code, details=""):
        super().__init__(_strerror(code).decode())
        self.code = code
        self.details = details


class Missing(Error, KeyError):
    """There is no such metric, or the host cannot tell it now, or no such limit is set."""

    __str__ = Exception.__str__


class Freshness(enum.Enum):
    UNKNOWN = 0
    FRESH = 1
    STOPPED = 2


def _check(code, error=Error):
    if code < 0:
        raise error(code)


class Metric:
    """A metric of a snapshot: name, unit, text, value (int, float or str), age in seconds."""

    def __init__(self, snapshot, at):
        self.name = _metric_name(at).decode()
        self.context = "vm" if _metric_context(at) == _VM else "host"
        self.unit = _metric_unit(at).decode()
        self.text = _metric_text(at).decode()
        self.age = _metric_age(snapshot, at)
        kind = _metric_type(at)
        if kind == _STRING:
            self.value = self.text
        elif kind in _REALS:
            real = ctypes.c_double()
            _check(_metric_real(at, real))
            self.value = real.value
        else:
            number = ctypes.c_uint64()
            if _metric_u64(at, number) < 0:
                number = ctypes.c_int64()
                _check(_metric_i64(at, number))
            self.value = number.value


class _Values(collections.abc.Mapping):
    """The values of one context by name."""

    def __init__(self, snapshot, context):
        self._snapshot, self._context = snapshot, context

    def metric(self, name):
        at = ctypes.c_void_p()
        _check(_find(self._snapshot._p, self._context, name.encode(), at), Missing)
        return Metric(self._snapshot._p, at)

    def __getitem__(self, name):
        return self.metric(name).value

    def __iter__(self):
        seen = set()
        for metric in self._snapshot:
            if metric.context == ("host", "vm")[self._context] and metric.name not in seen:
                seen.add(metric.name)
                yield metric.name

    def __len__(self):
        return sum(1 for _ in self)


class Snapshot:
    """All metrics at one moment: `host` and `vm` by name, or all of them in order."""

    def __init__(self, p):
        self._p = p
        self.host, self.vm = _Values(self, _HOST), _Values(self, _VM)

    def __del__(self):
        _free(self._p)

    def __iter__(self):
        for i in range(_count(self._p)):
            yield Metric(self._p, _at(self._p, i))

    @property
    def xml(self):
        return _xml(self._p, None).decode(errors="replace")

    @property
    def path(self):
        return _path(self._p).decode(errors="surrogateescape")

    @property
    def is_channel(self):
        return bool(_is_channel(self._p))

    @property
    def uuid(self):
        uuid = _uuid(self._p)
        return uuid.decode() if uuid else None

    @property
    def age(self):
        return _age(self._p)

    @property
    def freshness(self):
        return Freshness(_freshness(self._p))

    @property
    def session(self):
        session = ctypes.c_uint64()
        _check(_session(self._p, session))
        return session.value

    def check_deltas(self, before):
        """Raises an Error unless counters of `before` may be subtracted from these."""
        _check(_deltas_valid(before._p, self._p))

    def elapsed(self, before):
        return _elapsed(before._p, self._p)

    def rate(self, before, name, context="vm"):
        """How fast a counter grew since `before`, each second."""
        rate = ctypes.c_double()
        context = {"host": _HOST, "vm": _VM}[context]
        _check(_rate(before._p, self._p, context, name.encode(), rate))
        return rate.value


class Source:
    """Where metrics come from: "auto", "disk", "channel" or a path; None: the environment's."""

    def __init__(self, where=None, timeout=None, uuid=None):
        self._p = ctypes.c_void_p()
        _check(_open(where.encode() if where else None, self._p))
        if timeout is not None:
            _check(_set_timeout(self._p, int(timeout * 1000)))
        if uuid is not None:
            _check(_set_uuid(self._p, uuid.encode()))

    def read(self):
        snapshot = ctypes.c_void_p()
        code = _read(self._p, snapshot)
        if code < 0:
            raise Error(code, _tried(self._p).decode(errors="replace"))
        return Snapshot(snapshot)

    def close(self):
        _close(self._p)
        self._p = ctypes.c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if self._p:
            self.close()
