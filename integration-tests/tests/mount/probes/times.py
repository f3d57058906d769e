# Times: which operation changes which, to the nanosecond, and how they are set.
def times(path, follow=True):
    info = os.stat(path, follow_symlinks=follow)
    return info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns


def pause():
    # Clocks of file systems tick a few hundred times a second: this is about time that passes.
    time.sleep(0.02)


def changed(what, run, *paths):
    """Prints which of mtime and ctime an operation changed, of each path that is there before and after."""
    before = {path: times(path, False) for path in paths if os.path.lexists(path)}
    pause()
    failure = ''
    try:
        run()
    except OSError as error:
        failure = errno.errorcode[error.errno]
    marks = []
    for path in before:
        if os.path.lexists(path):
            after = times(path, False)
            marks.append(path + ':' + ''.join(
                name for name, old, now in zip('mc', before[path][1:], after[1:]) if old != now))
    print(what, failure, *marks)


fill('f', b'content')
os.mkdir('d')
os.symlink('f', 'l')
os.mkdir('e')
file = os.open('f', os.O_RDWR)
changed('chmod', lambda: os.chmod('f', 0o600), 'f', '.')
changed('chmod to the same', lambda: os.chmod('f', 0o600), 'f')
changed('chown', lambda: os.chown('f', 1, 1), 'f')
changed('link', lambda: os.link('f', 'f2'), 'f', '.')
changed('unlink of a link', lambda: os.unlink('f2'), 'f', '.')
changed('rename', lambda: os.rename('f', 'g'), '.')
changed('rename back', lambda: os.rename('g', 'f'), '.', 'f')
os.link('f', 'other')
changed('rename, seen by another name', lambda: os.rename('f', 'd/f'), 'other')
changed('link, seen by another name', lambda: os.link('d/f', 'third'), 'other')
changed('unlink, seen by another name', lambda: os.unlink('third'), 'other')
os.unlink('other')
changed('rename to another directory', lambda: os.rename('d/f', 'f'), '.', 'd', 'e')
changed('rename of a directory', lambda: os.rename('e', 'd/e'), '.', 'd')
changed('and back', lambda: os.rename('d/e', 'e'), '.', 'd', 'e')
fill('h1', b'1')
os.link('h1', 'h2')
changed('rename of a link over another', lambda: os.rename('h1', 'h2'), 'h1', 'h2', '.')
changed('rename to itself', lambda: os.rename('h1', 'h1'), 'h1', '.')
fill('x1', b'1')
fill('x2', b'2')
changed('exchange', lambda: renameat2('x1', 'x2', 2), 'x1', 'x2', '.')
changed('mkdir', lambda: os.mkdir('d/new'), 'd', '.')
changed('rmdir', lambda: os.rmdir('d/new'), 'd', '.')
changed('create', lambda: fill('d/file'), 'd')
changed('symlink', lambda: os.symlink('x', 'd/link'), 'd')
changed('mkfifo', lambda: os.mkfifo('d/fifo'), 'd')
changed('unlink', lambda: os.unlink('d/file'), 'd')
changed('a failed create', lambda: os.mkdir('d/link'), 'd')
changed('a failed unlink', lambda: os.unlink('d/absent'), 'd')
changed('setxattr', lambda: os.setxattr('f', 'user.a', b'1'), 'f')
changed('removexattr', lambda: os.removexattr('f', 'user.a'), 'f')
changed('read', lambda: os.pread(file, 10, 0), 'f')
changed('write', lambda: os.pwrite(file, b'x', 0), 'f')
os.fsync(file)
changed('close', lambda: os.close(os.dup(file)), 'f')
changed('fsync', lambda: os.fsync(file), 'f')
changed('write of nothing', lambda: os.pwrite(file, b'', 0), 'f')
changed('ftruncate to the same', lambda: os.ftruncate(file, os.fstat(file).st_size), 'f')
changed('truncate to the same', lambda: os.truncate('f', os.stat('f').st_size), 'f')
changed('ftruncate', lambda: os.ftruncate(file, 3), 'f')
changed('open to truncate', lambda: os.close(os.open('f', os.O_WRONLY | os.O_TRUNC)), 'f')
changed('open to truncate what is empty', lambda: os.close(os.open('f', os.O_WRONLY | os.O_TRUNC)), 'f')
changed('open to read', lambda: os.close(os.open('f', os.O_RDONLY)), 'f')
changed('open to create what is there', lambda: os.close(os.open('f', os.O_WRONLY | os.O_CREAT)), 'f', '.')
changed('fallocate', lambda: fallocate(file, 0, 0, 100), 'f')
changed('fallocate of what is there', lambda: fallocate(file, 0, 0, 100), 'f')
changed('fallocate keep', lambda: fallocate(file, KEEP, 0, 10000), 'f')
changed('punch', lambda: fallocate(file, KEEP | PUNCH, 0, 10), 'f')
changed('zero', lambda: fallocate(file, ZERO, 0, 10), 'f')
fill('source', b's' * 5000)
source = os.open('source', os.O_RDONLY)
changed('copy_file_range', lambda: os.copy_file_range(source, file, 1000, 0, 0), 'f', 'source')
os.ftruncate(file, 8192)


def map_and_write():
    with mmap.mmap(file, 4096) as mapped:
        mapped[5] = 7
        mapped.flush()


changed('a mapped write, flushed', map_and_write, 'f')
changed('readlink', lambda: os.readlink('l'), 'l')
changed('listdir', lambda: os.listdir('d'), 'd')
changed('stat', lambda: os.stat('f'), 'f')
changed('lock', lambda: fcntl.lockf(file, fcntl.LOCK_EX), 'f')

print('setting them')
S = 1_234_567_890
for name, access, change in [('both', (S, 123456789), (S + 1, 987654321)), ('access', (S + 2, 1), (0, OMIT)),
                             ('change', (0, OMIT), (S + 3, 999999999)), ('neither', (0, OMIT), (0, OMIT)),
                             ('zero', (0, 0), (0, 0)), ('far', ((1 << 32) + 5, 7), ((1 << 33) - 1, 9)),
                             ('before 1970', (-1, 500_000_000), (-86400 * 365, 0)), ('1901', (-(1 << 31), 0), (-(1 << 31) + 1, 1)),
                             ('bad', (S, 1_000_000_000), (S, 0)), ('negative nanoseconds', (S, -1), (S, 0))]:
    tell(name, utimensat, 'f', access, change)
    print(times('f')[:2])
for path in ['d', 'l']:
    tell(path, utimensat, path, (S, 1), (S, 2), 0x100)
    print(times(path, False)[:2])
before = time.time_ns() - 50_000_000
tell('now', utimensat, 'f', (0, NOW), (0, NOW))
print([before <= moment <= time.time_ns() + 50_000_000 for moment in times('f')])
tell('access now', utimensat, 'f', (0, NOW), (S, 5))
print(times('f')[0] >= before, times('f')[1])
changed('set both', lambda: utimensat('f', (S, 1), (S, 1)), 'f')
changed('set neither', lambda: utimensat('f', (0, OMIT), (0, OMIT)), 'f')
print('times that were set stay when data follows them')
writer = os.open('late', os.O_RDWR | os.O_CREAT)
os.write(writer, b'data')
utimensat('late', (S, 1), (S, 2))
os.close(writer)
print(times('late')[1] == S * 10**9 + 2)
writer = os.open('late', os.O_RDWR | os.O_APPEND)
os.write(writer, b'more')
utimensat('late', (S, 1), (S, 3))
os.close(writer)
print(times('late')[1] == S * 10**9 + 3)
with open('late', 'r+b') as writer:
    mapped = mmap.mmap(writer.fileno(), 4)
    mapped[0] = 1
    mapped.flush()
    utimensat('late', (S, 1), (S, 4))
    mapped.close()
print(times('late')[1] == S * 10**9 + 4)
print('a new object has one time')
for name, make in [('n1', lambda: fill('n1')), ('n2', lambda: os.mkdir('n2')), ('n3', lambda: os.symlink('x', 'n3')), ('n4', lambda: os.mkfifo('n4'))]:
    make()
    access, change, status = times(name, False)
    print(name, change == status, abs(access - change) < 10**9)
print('reads')
fill('read', b'text')


def read(flags=0):
    reader = os.open('read', os.O_RDONLY | flags)
    # What is read from memory may go unnoticed.
    os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_DONTNEED)
    os.read(reader, 10)
    os.close(reader)


def access():
    return os.stat('read').st_atime_ns


utimensat('read', (S, 1), (S, 2))
pause()
read(os.O_NOATIME)
print('asked not to be noted', access() == S * 10**9 + 1)
before = os.stat('read').st_ctime_ns
read()
first = access()
print('noted', first > before, 'nothing else', os.stat('read').st_ctime_ns == before, os.stat('read').st_mtime_ns == S * 10**9 + 2)
pause()
read()
print('once', access() == first)
pause()
os.truncate('read', 3)
pause()
read()
print('and after a change', access() > os.stat('read').st_mtime_ns)
utimensat('read', (S, 5), (0, OMIT))
time.sleep(1.5)  # What was read before does not come back by and by.
print('unless it is set', access() == S * 10**9 + 5)
