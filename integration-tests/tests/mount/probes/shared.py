# What the probes have in common: system calls that Python lacks, and how what they give is printed. It stands in front of
# each of them. A probe prints what a program can see, and nothing that differs from run to run.
import ctypes, errno, fcntl, mmap, os, signal, stat, struct, sys, threading, time

_libc = ctypes.CDLL(None, use_errno=True)
_i64 = ctypes.c_int64


def _checked(result):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def fallocate(file, mode, offset, length):
    return _checked(_libc.fallocate(file, mode, _i64(offset), _i64(length)))


def renameat2(old, new, flags):
    return _checked(_libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags))


def linkat(directory, old, new, flags):
    return _checked(_libc.linkat(directory, os.fsencode(old), -100, os.fsencode(new), flags))


class _Timespec(ctypes.Structure):
    _fields_ = [('seconds', ctypes.c_long), ('nanos', ctypes.c_long)]


NOW, OMIT = (1 << 30) - 1, (1 << 30) - 2


def utimensat(path, access, change, flags=0):
    """Each a pair of seconds and nanoseconds; NOW and OMIT are nanoseconds."""
    times = (_Timespec * 2)(_Timespec(*access), _Timespec(*change))
    return _checked(_libc.utimensat(-100, os.fsencode(path), times, flags))


KEEP, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32


def tell(what, call, *args):
    """Prints what a call gives, or the name of its errno. Gives what it gave."""
    given = None
    try:
        given = call(*args)
        shown = given
    except OSError as error:
        shown = errno.errorcode[error.errno]
    print(f'{what}: {shown}')
    return given


def fill(path, content=b''):
    with open(path, 'wb') as file:
        file.write(content)


def content(path):
    with open(path, 'rb') as file:
        return file.read()


def sum_of(data):
    """A few characters that change with the bytes, and their number."""
    import zlib
    return f'{len(data)} bytes {zlib.crc32(data):08x}'


def opened(path, flags, mode=0o644):
    """A descriptor that is closed with the process."""
    return os.open(path, flags, mode)


def in_child(run):
    """What `run` prints in a process of its own, and how that ended."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            run()
            sys.stdout.flush()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
