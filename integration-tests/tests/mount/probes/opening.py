# open(2) and its flags, and what writes and reads through a descriptor do.
fill('file', b'0123456789')
os.mkdir('directory')
os.symlink('file', 'link')
os.symlink('nothing', 'dangling')
os.symlink('round', 'about')
os.symlink('about', 'round')
RW, CREATE = os.O_RDWR, os.O_CREAT


def try_open(path, flags):
    file = os.open(path, flags, 0o640)
    try:
        return 'opened'
    finally:
        os.close(file)


for path in ['file', 'link', 'dangling', 'directory', 'round', 'file/', 'link/', 'directory/', 'absent/', 'file/x', '']:
    for name, flags in [('read', 0), ('write', os.O_WRONLY), ('create', RW | CREATE), ('exclusive', RW | CREATE | os.O_EXCL),
                        ('nofollow', os.O_NOFOLLOW), ('directory', os.O_DIRECTORY), ('truncate', os.O_TRUNC),
                        ('path', os.O_PATH), ('path nofollow', os.O_PATH | os.O_NOFOLLOW),
                        ('create directory', CREATE | os.O_DIRECTORY)]:
        tell(f'{path!r} {name}', try_open, path, flags)
    for made in ['nothing', 'absent']:
        if os.path.lexists(made):
            print('made', made, os.stat(made).st_mode & 0o7777)
            os.unlink(made)
    fill('file', b'0123456789')

print('names')
for length in [254, 255, 256]:
    tell(length, try_open, 'n' * length, RW | CREATE)
    tell(length, os.mkdir, 'd' * length)
    tell(length, os.symlink, 'target', 's' * length)
    tell(length, os.link, 'file', 'l' * length)
    tell(length, os.rename, 'n' * length, 'm' * length)
    tell(length, os.lstat, 'q' * length)
for length in [1, 255, 4000, 4094, 4095]:
    tell(length, os.symlink, 'x' * length, f'long{length}')
    tell(length, lambda: len(os.readlink(f'long{length}')))
    tell(length, lambda: os.lstat(f'long{length}').st_size)
tell('empty', os.symlink, '', 'empty')
tell('a name that is no text', fill, b'\xff\xfe\x80 \n')
print(sorted(name for name in os.listdir(b'.') if name.startswith(b'\xff')))
deep = '/'.join(['d' * 200] * 19)
os.makedirs(deep)
tell('deep', fill, deep + '/file', b'x')
tell('too deep', lambda: os.stat(deep + '/' + 'e' * 255 + '/' + 'e' * 255).st_size)

print('chains of links')
os.symlink('file', 'chain0')
for number in range(1, 45):
    os.symlink(f'chain{number - 1}', f'chain{number}')
for number in [38, 39, 40, 41]:
    tell(number, lambda: os.stat(f'chain{number}').st_size)

print('append')
fill('log', b'12345')
log = opened('log', RW | os.O_APPEND)
tell('pwrite appends', os.pwrite, log, b'ab', 0)
tell('position', os.lseek, log, 0, os.SEEK_CUR)
tell('write', os.write, log, b'cd')
tell('position', os.lseek, log, 0, os.SEEK_CUR)
tell('read at the end', os.read, log, 10)
tell('read all', os.pread, log, 100, 0)
other = opened('log', RW)
tell('another writes', os.pwrite, other, b'XX', 12)
tell('append behind it', os.write, log, b'ef')
tell('read all', os.pread, other, 100, 0)
# O_APPEND comes and goes with F_SETFL.
fcntl.fcntl(log, fcntl.F_SETFL, 0)
tell('no append any more', os.pwrite, log, b'YY', 0)
tell('read all', os.pread, other, 100, 0)
fcntl.fcntl(other, fcntl.F_SETFL, os.O_APPEND)
tell('append now', os.pwrite, other, b'ZZ', 0)
tell('append now', os.write, other, b'!!')
tell('read all', content, 'log')
os.close(log), os.close(other)
tell('size', lambda: os.stat('log').st_size)
# What is written at an offset right after appends lies over them, and is not what they come behind.
kinds = set()
for number in range(50):
    log, other = opened('order', RW | CREATE | os.O_APPEND), opened('order', RW)
    os.write(log, b'a' * 5000), os.write(log, b'b' * 84)
    os.pwrite(other, b'c' * 4096, 5042)
    listed = [entry.stat().st_size for entry in os.scandir('.') if entry.name == 'order']
    kinds.add((listed[0], os.stat('order').st_size, sum_of(os.pread(other, 20000, 0))))
    os.close(log), os.close(other), os.unlink('order')
print('appended, then written over:', kinds)
rw = opened('log', RW)
tell('RWF_APPEND', os.pwritev, rw, [b'more'], 0, os.RWF_APPEND)
tell('RWF_DSYNC', os.pwritev, rw, [b'sync'], 0, os.RWF_DSYNC)
tell('RWF_SYNC', os.pwritev, rw, [b'all'], 1, os.RWF_SYNC)
tell('read all', content, 'log')

print('access modes')
for name, flags in [('read', 0), ('write', 1), ('both', 2), ('neither', 3), ('path', os.O_PATH)]:
    file = opened('file', flags)
    tell(f'{name} read', os.read, file, 1)
    tell(f'{name} write', os.write, file, b'x')
    tell(f'{name} truncate', os.ftruncate, file, 10)
    tell(f'{name} fallocate', fallocate, file, 0, 0, 10)
    tell(f'{name} fsync', os.fsync, file)
    tell(f'{name} fchmod', os.fchmod, file, 0o644)
    tell(f'{name} fstat', lambda: os.fstat(file).st_size)
    os.close(file)
directory = opened('directory', os.O_RDONLY)
tell('read a directory', os.read, directory, 1)
tell('lseek in a directory', os.lseek, directory, 0, os.SEEK_SET)
tell('fsync a directory', os.fsync, directory)
tell('fdatasync a directory', os.fdatasync, directory)
tell('truncate a directory', os.truncate, 'directory', 0)

print('reads and writes')
file = opened('data', RW | CREATE)
tell('writev', os.writev, file, [b'one', b'', b'three', b'x' * 5000])
tell('readv', lambda: os.preadv(file, [bytearray(3), bytearray(2), bytearray(9000)], 1))
tell('write of nothing', os.write, file, b'')
tell('write of nothing beyond', os.pwrite, file, b'', 1 << 20)
tell('size', lambda: os.fstat(file).st_size)
tell('read of nothing', os.read, file, 0)
tell('read beyond', os.pread, file, 10, 1 << 40)
tell('negative offset', os.pread, file, 10, -1)
tell('write at a negative offset', os.pwrite, file, b'x', -1)
tell('lseek before the beginning', os.lseek, file, -1, os.SEEK_SET)
tell('lseek far', os.lseek, file, (1 << 40), os.SEEK_SET)
tell('lseek from the end', os.lseek, file, -8, os.SEEK_END)
tell('read', os.read, file, 100)
tell('no such whence', os.lseek, file, 0, 9)

print('synchronous and direct')
for name, flags in [('sync', os.O_SYNC), ('dsync', os.O_DSYNC), ('direct', os.O_DIRECT), ('noatime', os.O_NOATIME)]:
    file = opened(name, RW | CREATE | flags)
    page = mmap.mmap(-1, 8192)
    page.write(b'p' * 8192)
    tell(f'{name} write', os.writev, file, [page])
    again = mmap.mmap(-1, 8192)
    tell(f'{name} read', os.preadv, file, [again], 0)
    print(again[:] == page[:])
    buffered = opened(name, RW)
    tell(f'{name} beside buffered', os.pwrite, buffered, b'b' * 100, 4090)
    os.preadv(file, [again], 0)
    print(sum_of(again[:]))
    page[:10] = b'0123456789'
    os.pwritev(file, [page], 0)
    print(sum_of(os.pread(buffered, 9000, 0)))

print('removed while open')
fill('gone', b'here')
file = opened('gone', RW)
os.unlink('gone')
tell('links', lambda: os.fstat(file).st_nlink)
tell('write', os.pwrite, file, b'there and longer', 0)
tell('truncate', os.ftruncate, file, 5)
tell('read', os.pread, file, 100, 0)
again = tell('opened again', lambda: opened(f'/proc/self/fd/{file}', RW) > 0)
tell('through it', lambda: content(f'/proc/self/fd/{file}'))
tell('a new name', linkat, file, '', 'back', 0x1000)
tell('a new name through proc', linkat, -100, f'/proc/self/fd/{file}', 'back', 0x400)
tell('chmod', os.fchmod, file, 0o600)
tell('an attribute', os.setxattr, file, 'user.a', b'1')
tell('read it', os.getxattr, file, 'user.a')
tell('times', lambda: os.utime(file, (1, 2)))
tell('seen', lambda: (os.fstat(file).st_mtime, os.fstat(file).st_mode & 0o777))
os.mkdir('removed')
held = opened('removed', os.O_RDONLY)
os.rmdir('removed')
tell('list a removed directory', os.listdir, held)
tell('its links', lambda: os.fstat(held).st_nlink)
os.mkdir('below')
os.chdir('below')
os.rmdir('../below')
tell('create in a removed directory', fill, 'x')
tell('mkdir in a removed directory', os.mkdir, 'x')
os.chdir('..') if os.path.exists('..') else None
