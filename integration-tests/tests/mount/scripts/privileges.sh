# A program with setuid and setgid that is changed loses them, unless root changes it; and who may set which times. See
# scripts.rs.
export LC_ALL=C
umask 022
# as ID COMMAND..
as() { local id=$1; shift; echo "\$ $id $*"; setpriv --reuid "$id" --regid "$id" --clear-groups -- "$@" 2>&1; echo "= $?"; }

chmod 777 .
changes() {
    for who in 1001 1002 0; do
        for how in 'echo x >>s' 'truncate -s 2 s' ': >s' 'fallocate -l 10 s' 'chown :1001 s'; do
            chmod 6777 s
            as "$who" bash -c "$how"
            # The mode alone, which the kernel answers from what it keeps.
            stat -c %a s
        done
    done
}
: >s
chown 1001:1001 s
changes
# The same while another program has it open.
exec 7<>s
changes
exec 7>&-

# set WHO MODE OPTIONS..: which of the times of 1970 are still there.
times() {
    local who=$1 mode=$2
    shift 2
    chmod "$mode" s
    touch -d @100 s
    as "$who" touch "$@" s
    stat -c '%X %Y' s | sed -E 's/[0-9]{5,}/now/g'
}
for who in 1001 1002 0; do
    for mode in 644 666; do
        times "$who" "$mode" -c
        times "$who" "$mode" -c -a
        times "$who" "$mode" -c -m
        times "$who" "$mode" -c -d @200
        times "$who" "$mode" -c -a -d @200
    done
done
