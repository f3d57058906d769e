# Access control lists, by the tools that people use. See scripts.rs.
export LC_ALL=C
umask 022
run() { echo "\$ $*"; "$@" 2>&1; echo "= $?"; }
# as UID GID COMMAND..
as() { local uid=$1 gid=$2; shift 2; run setpriv --reuid "$uid" --regid "$gid" --clear-groups -- "$@"; }
lists() { run getfacl -n "$@"; run stat -c '%A %a %U' "$@"; ls -ld "$@" | cut -c11; }

chmod 777 .
echo hello > f
mkdir d
chmod 640 f
chown 1001:1001 f d
run setfacl -m u:1002:rw,g:1003:r f
lists f
for who in 1001:1001 1002:1002 1004:1003 1004:1004 1004:1001; do
    as "${who%:*}" "${who#*:}" cat f
    as "${who%:*}" "${who#*:}" bash -c 'echo more >> f'
done
# chmod changes the mask, and brings back what it covered.
run chmod 600 f
lists f
as 1002 1002 cat f
run chmod 664 f
lists f
as 1002 1002 bash -c 'echo more >> f'

# What is made below a default list inherits it, and no umask.
run setfacl -d -m u:1002:rwx,g:1003:rx,o::- d
lists d
run setfacl -m u:1002:rwx d
umask 077
as 1002 1002 bash -c 'umask 077; touch d/f; mkdir d/e; mkfifo d/p; ln -s f d/l; echo x > d/e/g; mkdir -m 700 d/e/h'
lists d/f d/e d/p d/e/g d/e/h
run stat -c '%a %F' d/l
as 1004 1003 ls d/e
as 1004 1003 cat d/e/g
as 1004 1003 touch d/e/new
umask 022
touch plain; lists plain

# They are the owner's to set, and must make sense.
as 1002 1002 setfacl -m u:1002:rwx f
as 1002 1002 setfacl -b f
as 1001 1001 setfacl -m u:1004:r f
run setfacl -m d:u:1002:r f
run setfacl -n -x m f
lists f

# Setgid goes where the owner is not in the group.
chown 1001:1003 f
for who in 1001:1001 1001:1003 0:0; do
    chmod 2775 f
    as "${who%:*}" "${who#*:}" setfacl -m u:1005:r f
    run stat -c %a f
done

# Copies, removal, and what is there in the end.
run cp -p f g
run cp -rp d d2
lists g d2 d2/e d2/e/g
run setfacl -x u:1002 f
lists f
run setfacl -b f
lists f
run setfacl -k d
lists d
run setfacl -R -m u:1006:r d
lists d/e d/e/g
run setfacl -R -b d
lists d/e d/e/g
find . | sort | xargs getfacl -n
