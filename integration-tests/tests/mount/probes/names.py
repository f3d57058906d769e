# Names: links, renames, directories being read while they change.
import itertools
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


def reset():
    import shutil
    for name in os.listdir('.'):
        shutil.rmtree(name) if os.path.isdir(name) and not os.path.islink(name) else os.unlink(name)
    fill('file', b'file')
    os.link('file', 'hard')
    fill('other', b'other')
    os.mkdir('empty')
    os.mkdir('full')
    fill('full/x', b'x')
    os.mkdir('full/sub')
    os.symlink('file', 'soft')
    os.symlink('full', 'softdir')
    os.symlink('absent', 'dangling')


fresh = None


def attempt(what, call, *args):
    """Does it on the same tree each time, and prints what becomes of that."""
    global fresh
    if fresh is None:
        reset()
        fresh = tree()
    tell(what, call, *args)
    after = tree()
    if after != fresh:
        print(after)
        fresh = None


def tree():
    found = []
    for directory, directories, files in sorted(os.walk('.')):
        for name in sorted(directories + files):
            path = os.path.join(directory, name)
            info = os.lstat(path)
            found.append(f'{path}:{stat.filemode(info.st_mode)[0]}{info.st_nlink}')
    return ' '.join(found)


places = ['file', 'hard', 'empty', 'full', 'full/x', 'full/sub', 'soft', 'softdir', 'dangling', 'absent', 'empty/new', 'file/',
          'empty/', 'absent/', '.', '..', 'empty/.', 'full/sub/new', 'soft/', 'softdir/', 'dangling/']
print('rename')
for old, new in itertools.product(places, repeat=2):
    attempt(f'{old} {new}', os.rename, old, new)
print('rename with flags')
for flags in [NOREPLACE, EXCHANGE, NOREPLACE | EXCHANGE, 1 << 5]:
    for old, new in itertools.product(['file', 'hard', 'other', 'empty', 'full', 'full/x', 'soft', 'absent', 'full/new'], repeat=2):
        attempt(f'{flags} {old} {new}', renameat2, old, new, flags)
print('link, unlink, rmdir, mkdir, symlink, mknod')
for old, new in itertools.product(['file', 'empty', 'soft', 'dangling', 'absent', 'file/'], ['new', 'other', 'empty', 'empty/', 'new/', 'soft', 'dangling', 'empty/new', 'file/new', 'absent/new']):
    attempt(f'link {old} {new}', lambda: os.link(old, new, follow_symlinks=False))
for name, call in [('unlink', os.unlink), ('rmdir', os.rmdir), ('mkdir', os.mkdir), ('symlink', lambda path: os.symlink('x', path)),
                   ('mkfifo', os.mkfifo), ('chdir', lambda path: (os.chdir(path), os.chdir(top))), ('readlink', os.readlink), ('open', fill),
                   ('device', lambda path: os.mknod(path, 0o644 | stat.S_IFCHR, os.makedev(1, 3))),
                   ('socket', lambda path: os.mknod(path, 0o644 | stat.S_IFSOCK)), ('directory', lambda path: os.mknod(path, 0o644 | stat.S_IFDIR)),
                   ('plain', lambda path: os.mknod(path, 0o644 | stat.S_IFREG)), ('access', lambda path: os.access(path, os.R_OK))]:
    top = os.getcwd()
    for path in places + ['']:
        attempt(f'{name} {path!r}', call, path)

print('devices')
reset()
for major, minor in [(0, 0), (1, 3), (8, 1), (255, 255), (259, 70000), (4095, 1048575)]:
    tell((major, minor), os.mknod, f'dev{major}-{minor}', 0o600 | stat.S_IFBLK, os.makedev(major, minor))
    info = os.lstat(f'dev{major}-{minor}')
    print(os.major(info.st_rdev), os.minor(info.st_rdev), stat.filemode(info.st_mode))
import socket
server = socket.socket(socket.AF_UNIX)
server.bind('socket')
server.listen()
peer = socket.socket(socket.AF_UNIX)
tell('connect', peer.connect, 'socket')
tell('open a socket', os.open, 'socket', os.O_RDWR)

print('links of directories')
reset()
for number in range(5):
    os.mkdir(f'empty/{number}')
    print(os.stat('empty').st_nlink, end=' ')
os.rename('empty/0', 'full/0')
print(os.stat('empty').st_nlink, os.stat('full').st_nlink)
os.rename('empty/1', 'empty/2')
print(os.stat('empty').st_nlink)
print('many links of one file')
fill('many', b'm')
for number in range(300):
    os.link('many', f'many{number}')
print(os.stat('many').st_nlink)

print('reading a directory while it changes')
os.mkdir('listed')
for number in range(1000):
    fill(f'listed/{number:05}')
# What is there all the time is listed once.
seen = []
with os.scandir('listed') as entries:
    for count, entry in enumerate(entries):
        seen.append(entry.name)
        if count % 7 == 0 and count < 700:
            os.unlink(f'listed/{entry.name}')
            fill(f'listed/new{count:05}')
stays = [f'{number:05}' for number in range(1000)]
missed = [name for name in stays if os.path.exists(f'listed/{name}') and name not in set(seen)]
print('missed', missed, 'twice', len(seen) - len(set(seen)))
while names := os.listdir('listed'):
    with os.scandir('listed') as entries:
        for entry in entries:
            os.unlink(f'listed/{entry.name}')
tell('empty now', os.rmdir, 'listed')

print('places in a directory')
libc = ctypes.CDLL(None, use_errno=True)


class Entry(ctypes.Structure):
    _fields_ = [('inode', ctypes.c_uint64), ('place', ctypes.c_int64), ('length', ctypes.c_uint16), ('kind', ctypes.c_uint8), ('name', ctypes.c_char * 256)]


libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(Entry)
libc.telldir.restype = ctypes.c_long
for function in ['readdir', 'telldir', 'rewinddir', 'closedir']:
    getattr(libc, function).argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
os.mkdir('told')
for number in range(500):
    fill(f'told/{number}')
stream = libc.opendir(b'told')
order, told = [], {}
while True:
    place = libc.telldir(stream)
    entry = libc.readdir(stream)
    if not entry:
        break
    order.append(entry.contents.name)
    told[entry.contents.name] = place
print(len(order), len(set(order)), len(set(told.values())))
wrong = 0
for name in order[::-7] + order[::11]:
    libc.seekdir(stream, told[name])
    if libc.readdir(stream).contents.name != name:
        wrong += 1
print('wrong', wrong)
os.unlink('told/3'), fill('told/late')
libc.rewinddir(stream)
again = []
while entry := libc.readdir(stream):
    again.append(entry.contents.name)
print('rewound', b'3' in again, b'late' in again, len(again))
kinds = {}
libc.closedir(stream)
reset()
os.mkfifo('fifo')
with os.scandir('.') as entries:
    print(sorted((entry.name, entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False), entry.is_symlink(), entry.inode() == os.lstat(entry.name).st_ino) for entry in entries))
descriptor = opened('full', DIRECTORY)
os.rename('full', 'moved')
tell('through a descriptor', lambda: sorted(os.listdir(descriptor)))
tell('a file in it', lambda: os.stat('x', dir_fd=descriptor).st_size)
tell('its parent', lambda: os.stat('..', dir_fd=descriptor).st_ino == os.stat('.').st_ino)
