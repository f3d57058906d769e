# Locks of fcntl(2), of open files, and of flock(2).
fill('f', b'x' * 1000)
RW = os.O_RDWR
SETLK, SETLKW, GETLK = fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW, fcntl.F_OFD_GETLK


def flock64(kind, start, length, pid=0, whence=0):
    return struct.pack('hhqqi4x', kind, whence, start, length, pid)


def ask(file, command, kind, start, length, whence=0):
    given = fcntl.fcntl(file, command, flock64(kind, start, length, 0, whence))
    kind, _, start, length, pid = struct.unpack('hhqqi4x', given)
    names = {fcntl.F_RDLCK: 'read', fcntl.F_WRLCK: 'write', fcntl.F_UNLCK: 'free'}
    return names[kind], start, length, 'nobody' if pid == 0 else 'open file' if pid == -1 else 'a process'


def seen_by_another(command=fcntl.F_GETLK):
    def look():
        file = opened('f', RW)
        found, at = [], 0
        while at < 1200:
            kind, start, length, who = ask(file, command, fcntl.F_WRLCK, at, 0)
            if kind == 'free':
                break
            found.append((kind, start, length, who))
            if length == 0:
                break
            at = start + length
        print(found)
    in_child(look)


R, W, U = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
file = opened('f', RW)
print('ranges')
for step in [(W, 100, 100), (R, 150, 20), (U, 120, 10), (W, 300, 0), (U, 400, 50), (R, 90, 300), (U, 0, 0), (W, 0, 1), (W, 1, 1), (W, 2, 5), (U, 3, 1)]:
    tell(step, lambda: ask(file, fcntl.F_SETLK, *step)[0])
    seen_by_another()
tell('from the end', lambda: ask(file, fcntl.F_SETLK, W, -10, 5, os.SEEK_END)[0])
tell('backwards', lambda: ask(file, fcntl.F_SETLK, W, 50, -20)[0])
tell('before the beginning', lambda: ask(file, fcntl.F_SETLK, W, 5, -20)[0])
seen_by_another()
tell('no such kind', lambda: fcntl.fcntl(file, fcntl.F_SETLK, flock64(9, 0, 0)))
tell('write lock of a reader', lambda: ask(opened('f', os.O_RDONLY), fcntl.F_SETLK, W, 500, 1)[0])
tell('read lock of a writer', lambda: ask(opened('f', os.O_WRONLY), fcntl.F_SETLK, R, 500, 1)[0])
print('closing any descriptor frees them')
os.close(os.open('f', os.O_RDONLY))
seen_by_another()
print('conflicts')
ask(file, fcntl.F_SETLK, W, 0, 10)


def conflicting():
    mine = opened('f', RW)
    tell('write', lambda: ask(mine, fcntl.F_SETLK, W, 5, 1)[0])
    tell('read', lambda: ask(mine, fcntl.F_SETLK, R, 5, 1)[0])
    tell('beside', lambda: ask(mine, fcntl.F_SETLK, W, 10, 1)[0])
    tell('flock is another matter', fcntl.flock, mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(InterruptedError(errno.EINTR, 'alarm')))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    tell('waiting, with an alarm', lambda: ask(mine, fcntl.F_SETLKW, W, 0, 1)[0])


in_child(conflicting)
print('a child has none of them')
in_child(lambda: tell('child', lambda: ask(file, fcntl.F_SETLK, W, 0, 1)[0]))
print('open file descriptions')
one, two = opened('f', RW), opened('f', RW)
ask(file, fcntl.F_SETLK, U, 0, 0)
tell('one', lambda: ask(one, SETLK, W, 0, 10)[0])
tell('two', lambda: ask(two, SETLK, W, 5, 10)[0])
tell('two sees', lambda: ask(two, GETLK, W, 5, 10))
tell('the process', lambda: ask(two, fcntl.F_SETLK, W, 5, 10)[0])
twin = os.dup(one)
os.close(one)
tell('a twin holds it', lambda: ask(two, SETLK, W, 5, 10)[0])
in_child(lambda: tell('a child too', lambda: ask(twin, SETLK, W, 0, 20)[0]))
os.close(twin)
# A moment later, maybe.
tell('free', lambda: ask(two, SETLKW, W, 5, 10)[0])
os.close(two)
print('flock')
one, two = opened('f', RW), opened('f', RW)
EX, SH, NB, UN = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_NB, fcntl.LOCK_UN
for who, name, how in [(one, 'one', SH), (two, 'two', SH), (one, 'one', EX), (two, 'two', UN), (one, 'one', EX), (two, 'two', SH), (one, 'one', SH), (two, 'two', SH), (two, 'two', EX)]:
    tell(f'{name} {how}', fcntl.flock, who, how | NB)
tell('of a reader', fcntl.flock, opened('f', os.O_RDONLY), SH | NB)
tell('exclusive of a reader, others hold', fcntl.flock, opened('f', os.O_RDONLY), EX | NB)
os.close(one), os.close(two)
print('a circle')
fill('g', b'y' * 100)
ready_read, ready_write = os.pipe()


def wait_for(file, start):
    """A circle is refused to whoever closes it."""
    signal.alarm(30)
    try:
        ask(file, fcntl.F_SETLKW, W, start, 1)
        return 'granted'
    except OSError as error:
        return errno.errorcode[error.errno]


signal.signal(signal.SIGALRM, signal.SIG_DFL)
mine = opened('g', RW)
ask(mine, fcntl.F_SETLK, W, 0, 1)
answer_read, answer_write = os.pipe()
child = os.fork()
if child == 0:
    theirs = opened('g', RW)
    ask(theirs, fcntl.F_SETLK, W, 10, 1)
    os.write(ready_write, b'!')
    os.write(answer_write, wait_for(theirs, 0).encode())
    os._exit(0)
os.read(ready_read, 1)
answer = wait_for(mine, 10)
os.close(mine)
answers = sorted([answer, os.read(answer_read, 100).decode()])
print(answers, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
