# Lengths, holes and fallocate(2).
RW, CREATE = os.O_RDWR, os.O_CREAT
KIB, MIB = 1 << 10, 1 << 20


def map_of(file):
    """Where data and holes begin, as lseek(2) tells."""
    places, at, end = [], 0, os.fstat(file).st_size
    while at < end:
        try:
            data = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            places.append(errno.errorcode[error.errno])
            break
        hole = os.lseek(file, data, os.SEEK_HOLE)
        places.append((data, hole))
        at = hole
    return places


def new(name, length=256 * KIB):
    file = opened(name, RW | CREATE | os.O_TRUNC)
    os.pwrite(file, bytes((at * 7 + at // 4096) % 251 + 1 for at in range(length)), 0)
    os.fsync(file)
    return file


def state(file):
    info = os.fstat(file)
    return info.st_size, sum_of(os.pread(file, 4 * MIB, 0)), map_of(file)


print('modes of fallocate, on whole pages')
modes = {'allocate': 0, 'keep': KEEP, 'punch': PUNCH | KEEP, 'zero': ZERO, 'zero keep': ZERO | KEEP}
for name, mode in modes.items():
    for offset, length in [(0, 4 * KIB), (64 * KIB, 64 * KIB), (192 * KIB, 128 * KIB), (256 * KIB, 64 * KIB), (512 * KIB, 4 * KIB)]:
        file = new('f')
        before = os.fstat(file)
        tell(f'{name} {offset}+{length}', fallocate, file, mode, offset, length)
        size, content_sum, _ = state(file)
        print(size, content_sum)
        os.close(file)
print('and on odd ranges')
for name, mode in modes.items():
    for offset, length in [(1, 10), (4000, 200), (4095, 2), (10000, 100001), (262143, 1), (262143, 2), (262144, 1), (300000, 77)]:
        file = new('f')
        tell(f'{name} {offset}+{length}', fallocate, file, mode, offset, length)
        print(state(file)[:2])
        os.close(file)
print('what is refused')
file = new('f')
for name, mode in [('punch without keep', PUNCH), ('unknown', 128), ('zero and punch', ZERO | PUNCH | KEEP),
                   ('collapse keep', COLLAPSE | KEEP), ('insert and collapse', INSERT | COLLAPSE)]:
    tell(name, fallocate, file, mode, 0, 4096)
tell('nothing', fallocate, file, 0, 0, 0)
tell('negative offset', fallocate, file, 0, -1, 10)
tell('negative length', fallocate, file, 0, 10, -1)
tell('beyond everything', fallocate, file, 0, (1 << 63) - 10, 20)
tell('posix_fallocate of nothing', os.posix_fallocate, file, 0, 0)
os.mkfifo('fifo')
fifo = opened('fifo', RW)
tell('of a fifo', fallocate, fifo, 0, 0, 10)
print('small files')
for length in [0, 1, 100, 5000, 16 * KIB, 17 * KIB]:
    for name, mode in modes.items():
        file = new('s', length)
        tell(f'{length} {name}', fallocate, file, mode, length // 2, 100)
        print(state(file)[:2])
        os.close(file)

print('holes')
file = opened('sparse', RW | CREATE)
tell('an empty file', map_of, file)
tell('data in it', os.lseek, file, 0, os.SEEK_DATA)
tell('a hole in it', os.lseek, file, 0, os.SEEK_HOLE)
os.ftruncate(file, MIB)
tell('only a hole', map_of, file)
tell('a hole at', os.lseek, file, 5, os.SEEK_HOLE)
tell('data', os.lseek, file, 5, os.SEEK_DATA)
os.pwrite(file, b'x' * 65536, 256 * KIB)
tell('data in the middle, not synced', map_of, file)
os.fsync(file)
tell('data in the middle', map_of, file)
for at in [0, 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 5, 320 * KIB - 1, 320 * KIB, MIB - 1, MIB, MIB + 1]:
    tell(f'data from {at}', os.lseek, file, at, os.SEEK_DATA)
    tell(f'hole from {at}', os.lseek, file, at, os.SEEK_HOLE)
tell('negative', os.lseek, file, -1, os.SEEK_DATA)
fallocate(file, PUNCH | KEEP, 272 * KIB, 16 * KIB)
tell('punched', map_of, file)
os.ftruncate(file, 300 * KIB)
tell('cut', map_of, file)
os.ftruncate(file, MIB)
tell('grown', map_of, file)
print(sum_of(os.pread(file, 2 * MIB, 0)))
tell('position after a failed lseek', lambda: (os.lseek(file, 7, os.SEEK_SET), os.lseek(file, 0, os.SEEK_CUR)))

print('blocks')


def blocks(file):
    return os.fstat(file).st_blocks


file = opened('blocks', RW | CREATE)
print('empty', blocks(file))
os.ftruncate(file, 64 * MIB)
print('a hole', blocks(file))
os.pwrite(file, b'd' * MIB, 8 * MIB)
os.fsync(file)
print('a MiB of data is about 2048', 2048 <= blocks(file) < 2048 + 256)
fallocate(file, PUNCH | KEEP, 8 * MIB, 512 * KIB)
print('half of it', 1024 <= blocks(file) < 1024 + 256)
os.ftruncate(file, 0)
print('none', blocks(file))
os.pwrite(file, b'd' * MIB, 0)
os.fsync(file)
print('dense', 2048 <= blocks(file) < 2048 + 64)

print('truncate')
file = new('t', 100_000)
for length in [99_999, 65_536, 65_537, 4096, 4095, 1, 0, 5, 200_000, 100]:
    os.ftruncate(file, length)
    print(length, sum_of(content('t')), sum_of(os.pread(file, 1 << 20, 0)))
# Data behind the end of the file never comes back.
os.pwrite(file, b'A' * 10_000, 0)
os.ftruncate(file, 3000)
os.ftruncate(file, 10_000)
print(sum_of(os.pread(file, 20_000, 0)))
os.pwrite(file, b'A' * 10_000, 0)
os.ftruncate(file, 3000)
os.pwrite(file, b'B', 9000)
print(sum_of(os.pread(file, 20_000, 0)))
tell('negative', os.ftruncate, file, -1)
tell('a symlink', lambda: (os.symlink('t', 'tl'), os.truncate('tl', 7), os.stat('t').st_size))
tell('read-only', os.ftruncate, opened('t', os.O_RDONLY), 3)
tell('nothing there', os.truncate, 'absent', 3)

print('far out')
for offset in [(1 << 31) - 3, (1 << 32) - 3, (1 << 40) + 5, (1 << 43)]:
    file = opened('far', RW | CREATE | os.O_TRUNC)
    tell(f'write at {offset}', os.pwrite, file, b'far out', offset)
    os.fsync(file)
    tell('size', lambda: os.fstat(file).st_size)
    tell('data', lambda: os.pread(file, 100, offset - 3))
    tell('where', lambda: os.lseek(file, 0, os.SEEK_DATA) <= offset)
    tell('cut', os.ftruncate, file, offset + 2)
    tell('data', lambda: os.pread(file, 100, offset - 3))
    os.close(file)
    os.unlink('far')

print('beyond the limit of a process')
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    for name, flags in [('plain', 0), ('append', os.O_APPEND), ('direct', os.O_DIRECT)]:
        file = opened(f'limited-{name}', RW | CREATE | flags)
        page = mmap.mmap(-1, 8192)
        tell(f'{name} within', os.pwritev, file, [page], 0)
        if name != 'direct':
            tell(f'{name} across', os.pwrite, file, b'x' * 5000, 8192)
        tell(f'{name} beyond', os.pwritev, file, [page], 12288)
        tell('truncate', os.ftruncate, file, 10_001)
        tell('fallocate', fallocate, file, 0, 0, 10_001)
        tell('size', lambda: os.fstat(file).st_size)


in_child(limited)
print('copy_file_range')
source, target = new('source', 150_000), opened('target', RW | CREATE)
tell('all', os.copy_file_range, source, target, 150_000, 0, 0)
print(content('source') == content('target'))
tell('more than there is', os.copy_file_range, source, target, 10_000, 145_000, 5)
tell('beyond', os.copy_file_range, source, target, 10, 200_000, 0)
tell('odd', os.copy_file_range, source, target, 777, 12_345, 160_001)
print(sum_of(content('target')))
tell('in itself', os.copy_file_range, source, source, 1000, 0, 140_500)
print(sum_of(content('source')))
tell('over itself', os.copy_file_range, source, source, 1000, 0, 500)
tell('positions', lambda: (os.lseek(source, 100, 0), os.lseek(target, 50, 0), os.copy_file_range(source, target, 300),
                           os.lseek(source, 0, 1), os.lseek(target, 0, 1)))
tell('append', os.copy_file_range, source, opened('target', os.O_WRONLY | os.O_APPEND), 10, 0, 0)
tell('read-only', os.copy_file_range, source, opened('target', os.O_RDONLY), 10, 0, 0)
tell('a directory', os.copy_file_range, source, opened('.', os.O_RDONLY), 10, 0, 0)
os.pwrite(source, b'changed', 0)
print('what is copied stays', sum_of(content('target')))
small = new('small', 100)
tell('small', os.copy_file_range, small, target, 50, 10, 3)
print(sum_of(content('target')))
