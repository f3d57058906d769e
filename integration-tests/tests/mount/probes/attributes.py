# Extended attributes, modes, owners, and who may do what.
import itertools
fill('f')
os.mkdir('d')
os.symlink('f', 'l')
os.mkfifo('p')
print('extended attributes')
for name in ['user.a', 'user.', 'trusted.a', 'security.a', 'system.a', 'other.a', 'plain', '', '.', 'user.' + 'n' * 250, 'user.' + 'n' * 251, 'system.posix_acl_access']:
    for path in ['f', 'd', 'l', 'p']:
        tell(f'set {name[:20]} {len(name)} of {path}', lambda: os.setxattr(path, name, b'value', follow_symlinks=False))
        tell('get', lambda: os.getxattr(path, name, follow_symlinks=False))
        tell('list', lambda: sorted(os.listxattr(path, follow_symlinks=False)))
        tell('remove', lambda: os.removexattr(path, name, follow_symlinks=False))
        tell('again', lambda: os.removexattr(path, name, follow_symlinks=False))
for length in [0, 1, 1000, 3000, 65537]:
    tell(length, lambda: os.setxattr('f', 'user.long', b'v' * length))
    tell('read', lambda: len(os.getxattr('f', 'user.long')))
os.setxattr('f', 'user.long', b'0123456789')
for flags in [os.XATTR_CREATE, os.XATTR_REPLACE, 3, 4]:
    for name in ['user.long', 'user.absent']:
        tell(f'{flags} {name}', lambda: os.setxattr('f', name, b'v', flags))
        if name == 'user.absent' and name in os.listxattr('f'):
            os.removexattr('f', name)
libc = ctypes.CDLL(None, use_errno=True)
os.setxattr('f', 'user.long', b'0123456789')
for size in [0, 9, 10, 11]:
    tell(f'get {size}', lambda: _checked(libc.getxattr(b'f', b'user.long', ctypes.create_string_buffer(max(size, 1)), size)))
for size in [0, 5, 10, 100]:
    tell(f'list {size}', lambda: _checked(libc.listxattr(b'f', ctypes.create_string_buffer(max(size, 1)), size)))
print(os.getxattr('f', 'user.long'))
os.link('f', 'hard')
print(os.getxattr('hard', 'user.long'))
os.rename('hard', 'moved')
print(os.getxattr('moved', 'user.long'))
file = opened('f', os.O_RDWR)
os.setxattr(file, 'user.fd', b'1')
print(sorted(os.listxattr(file)))
tell('read-only descriptor', os.setxattr, opened('f', os.O_RDONLY), 'user.ro', b'1')
tell('a path descriptor', os.setxattr, opened('f', os.O_PATH), 'user.ro', b'1')

print('capabilities go with a write')
CAPABILITY = struct.pack('<IIIII', 0x02000001, 1 << 10, 0, 0, 0)
for what, change in [('write', lambda: os.write(opened('cap', os.O_WRONLY), b'x')), ('truncate', lambda: os.truncate('cap', 1)),
                     ('chown', lambda: os.chown('cap', 5, 5)), ('chmod', lambda: os.chmod('cap', 0o700)),
                     ('fallocate', lambda: fallocate(opened('cap', os.O_RDWR), 0, 0, 100)),
                     ('append', lambda: os.write(opened('cap', os.O_WRONLY | os.O_APPEND), b'x')),
                     ('open to truncate', lambda: opened('cap', os.O_WRONLY | os.O_TRUNC))]:
    fill('cap', b'program')
    tell('set', os.setxattr, 'cap', 'security.capability', CAPABILITY)
    tell(what, lambda: change() and None)
    tell('left', lambda: 'security.capability' in os.listxattr('cap'))
    os.unlink('cap')

print('users')


def as_user(uid, gid, groups, run):
    def become():
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        run()
    in_child(become)


os.chmod('.', 0o777)
os.mkdir('sticky')
os.chmod('sticky', 0o1777)
fill('sticky/theirs')
os.chown('sticky/theirs', 1001, 1001)
fill('sticky/readable')
for uid in [1001, 1002]:
    def use():
        tell(f'{uid} rename', os.rename, 'sticky/theirs', f'sticky/by{uid}')
        tell(f'{uid} rename over', lambda: (fill(f'sticky/mine{uid}'), os.rename(f'sticky/mine{uid}', 'sticky/readable')))
        tell(f'{uid} unlink', os.unlink, 'sticky/readable')
        tell(f'{uid} trusted', os.setxattr, 'f', 'trusted.x', b'1')
        tell(f'{uid} see trusted', lambda: [name for name in os.listxattr('f') if name.startswith('trusted')])
        tell(f'{uid} user on sticky', os.setxattr, 'sticky', 'user.x', b'1')
        tell(f'{uid} mknod', os.mknod, f'node{uid}', 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        tell(f'{uid} mkfifo', os.mkfifo, f'fifo{uid}')
        tell(f'{uid} chown', os.chown, f'fifo{uid}', 0, -1)
        tell(f'{uid} chgrp', os.chown, f'fifo{uid}', -1, 2000)
        tell(f'{uid} chroot', os.chroot, 'd')
    os.setxattr('f', 'trusted.seen', b'1') if uid == 1001 else None
    as_user(uid, uid, [2000] if uid == 1001 else [], use)
print(sorted(os.listdir('sticky')))
print('setgid of a directory')
os.mkdir('group')
os.chown('group', 0, 2000)
os.chmod('group', 0o2777)


def members(who):
    def use():
        os.umask(0)
        fill(f'group/{who}')
        os.mkdir(f'group/d{who}')
        os.symlink('x', f'group/l{who}')
        os.close(os.open(f'group/s{who}', os.O_CREAT | os.O_WRONLY, 0o2775))
        os.mkfifo(f'group/p{who}', 0o2770)
        tell('chmod', os.chmod, f'group/{who}', 0o2755)
    return use


as_user(1001, 1001, [2000], members('in'))
as_user(1002, 1002, [], members('out'))
for name in sorted(os.listdir('group')):
    info = os.lstat(f'group/{name}')
    print(name, oct(info.st_mode), info.st_uid, info.st_gid)
print('modes and umask')
for mask, mode in itertools.product([0, 0o22, 0o77, 0o777], [0, 0o644, 0o1777, 0o4755, 0o7777]):
    os.umask(mask)
    os.close(os.open('m', os.O_CREAT | os.O_WRONLY, mode))
    os.mkdir('md', mode)
    print(oct(mask), oct(mode), oct(os.stat('m').st_mode), oct(os.stat('md').st_mode))
    os.unlink('m'), os.rmdir('md')
os.umask(0o22)
print('what a mode of nothing means while a file is open')


def nobody():
    file = opened('mine', os.O_CREAT | os.O_RDWR, 0)
    tell('write', os.write, file, b'data')
    tell('read', os.pread, file, 10, 0)
    tell('open again', os.open, 'mine', os.O_RDONLY)
    os.chmod('mine', 0o400)
    tell('write still', os.write, file, b'more')
    tell('truncate', os.ftruncate, file, 2)
    tell('open to write', os.open, 'mine', os.O_WRONLY)
    tell('truncate by name', os.truncate, 'mine', 1)
    tell('read by name', content, 'mine')


as_user(1001, 1001, [], nobody)
