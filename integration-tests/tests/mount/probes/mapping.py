# mmap(2), beside reads and writes, and programs that are run.
RW, CREATE, PAGE = os.O_RDWR, os.O_CREAT, 4096
SHARED, PRIVATE = mmap.MAP_SHARED, mmap.MAP_PRIVATE
fill('f', bytes(at % 251 for at in range(5 * PAGE + 100)))
for name, flags in [('plain', RW), ('append', RW | os.O_APPEND), ('direct', RW | os.O_DIRECT), ('sync', RW | os.O_SYNC),
                    ('read', os.O_RDONLY), ('write', os.O_WRONLY)]:
    for kind, how in [('shared', SHARED), ('private', PRIVATE)]:
        for access, protection in [('r', mmap.PROT_READ), ('w', mmap.PROT_READ | mmap.PROT_WRITE)]:
            file = opened('f', flags)

            def use():
                with mmap.mmap(file, 3 * PAGE, how, protection) as mapped:
                    seen = sum_of(mapped[:])
                    if access == 'w':
                        mapped[PAGE:PAGE + 4] = b'seen'
                        mapped.flush()
                    return seen, sum_of(content('f'))

            tell(f'{name} {kind} {access}', use)
            os.close(file)

print('written through a mapping, while another appends')
fill('both', b'a' * PAGE * 2)
mapping, log = opened('both', RW), opened('both', os.O_WRONLY | os.O_APPEND)
with mmap.mmap(mapping, PAGE * 2) as mapped:
    for turn in range(5):
        mapped[turn * 10:turn * 10 + 5] = b'MAPPD'
        os.write(log, b'appended')
        mapped.flush()
print(os.stat('both').st_size, sum_of(content('both')))
os.close(mapping)
with mmap.mmap(opened('both', RW), 0) as mapped:
    mapped[100:105] = b'AFTER'
print(sum_of(content('both')))
only = opened('both', RW | os.O_APPEND)
with mmap.mmap(only, PAGE) as mapped:
    mapped[200:205] = b'INSID'
    mapped.flush()
os.close(only)
print(os.stat('both').st_size, sum_of(content('both')))

print('the end of a file')
file = opened('end', RW | CREATE)
os.write(file, b'x' * PAGE)
# Python maps only what is there; then the file gets shorter.
mapped = mmap.mmap(file, PAGE)
os.ftruncate(file, 100)
print(sum_of(mapped[:]))
mapped[200] = 7
mapped.flush()
os.ftruncate(file, 300)
print('what was written behind the end', os.pread(file, 300, 0)[200])
os.ftruncate(file, 50)
print('cut', sum_of(mapped[:]))
os.ftruncate(file, PAGE)
print('grown', sum_of(mapped[:]))
os.pwrite(file, b'w' * 10, 60)
print('written', sum_of(mapped[:]), sum_of(content('end')))


def beyond():
    os.ftruncate(file, 0)
    mapped[0]


print('behind the end', in_child(beyond))
print('more than the file has')
os.ftruncate(file, 10)


def second_page():
    mapping = ctypes.CDLL(None).mmap
    mapping.restype = ctypes.c_void_p
    at = mapping(None, ctypes.c_size_t(2 * PAGE), 1, 1, file, ctypes.c_long(0))
    print('first', ctypes.string_at(at, 10))
    sys.stdout.flush()
    ctypes.string_at(at + PAGE, 1)


print(in_child(second_page))

print('two processes')
fill('shared', b'\0' * PAGE)
file = opened('shared', RW)
mapped = mmap.mmap(file, PAGE)


def child():
    with mmap.mmap(opened('shared', RW), PAGE) as mine:
        mine[10:15] = b'child'


in_child(child)
print(mapped[10:15], os.pread(file, 5, 10))
mapped[20:26] = b'parent'
print(content('shared')[20:26])
os.pwrite(file, b'written', 30)
print(mapped[30:37])
copy = mmap.mmap(file, PAGE, PRIVATE)
copy[0] = 9
print(mapped[0], content('shared')[0])
os.close(file)
os.unlink('shared')
mapped[40:44] = b'gone'
print(mapped[40:44])
mapped.close()

print('killed with a mapping that was never flushed')
fill('killed', b'-' * PAGE)


def killed():
    mine = mmap.mmap(opened('killed', RW), PAGE)
    mine[5:10] = b'saved'
    os.kill(os.getpid(), signal.SIGKILL)


print(in_child(killed), content('killed')[5:10])

print('programs')
import shutil, subprocess
shutil.copy(shutil.which('sleep'), 'program')
running = subprocess.Popen(['./program', '30'])
while os.readlink(f'/proc/{running.pid}/exe') != os.path.realpath('program'):
    time.sleep(0.01)
tell('write to what runs', os.open, 'program', os.O_WRONLY)
tell('truncate what runs', os.truncate, 'program', 10)
tell('rename what runs', os.rename, 'program', 'renamed')
tell('remove what runs', os.unlink, 'renamed')
print('it still runs', running.poll())
running.kill()
running.wait()
shutil.copy(shutil.which('true'), 'true')
writer = opened('true', os.O_WRONLY)
tell('run what is written', lambda: subprocess.call(['./true']))
os.close(writer)
tell('run it', lambda: subprocess.call(['./true']))
os.chmod('true', 0o644)
tell('without the right', lambda: subprocess.call(['./true']))
fill('script', b'#!/bin/sh\necho from a script\n')
os.chmod('script', 0o755)
tell('a script', lambda: subprocess.check_output(['./script']))
