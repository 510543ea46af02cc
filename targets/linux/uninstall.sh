#!/bin/sh
# Removes the files that install.sh has made, and nothing else. Settings and state stay, unless --purge is given.
#
#   ./uninstall.sh [--purge] [--root=DIR]
#
# Exit status: 0 done, 1 failed, 64 bad flag.
set -eu

root='' purge=no
for argument in "$@"; do
    case $argument in
    --purge) purge=yes ;;
    --root=*) root=${argument#*=} ;;
    -h | --help)
        sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "uninstall.sh: $argument: no such flag; see uninstall.sh --help" >&2
        exit 64
        ;;
    esac
done

lib=$root/usr/local/lib/otelet
manifest=$lib/manifest
say() { echo "uninstall.sh: $*"; }

if [ ! -f "$manifest" ]; then
    say "nothing to do: $manifest does not exist, so install.sh has installed nothing here"
    exit 0
fi
if [ -z "$root" ]; then
    [ "$(id -u)" = 0 ] || {
        echo "uninstall.sh: needs root; run it with sudo" >&2
        exit 1
    }
    if [ -d /run/systemd/system ]; then
        systemctl disable --now otelet >/dev/null 2>&1 || true
        systemctl disable otelet-upgrade >/dev/null 2>&1 || true
        rm -f /etc/systemd/system/otelet-upgrade.service
    elif [ -x /sbin/openrc-run ]; then
        rc-service -q otelet stop 2>/dev/null || true
        for service in otelet otelet-upgrade; do rc-update -q del "$service" default 2>/dev/null || true; done
        rm -f /etc/init.d/otelet-upgrade
    fi
fi

while read -r kind name; do
    case $kind in
    file) rm -f "$root$name" "$root$name.otelet-new" && say "removed $name" ;;
    settings) [ "$purge" = no ] || { rm -f "$root$name" "$root$name.otelet-new" && say "removed $name"; } ;;
    esac
done <"$manifest"
[ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload

if [ "$purge" = yes ]; then
    rm -rf "$root/var/lib/otelet" "$root/run/otelet" "$root/var/log/otelet" "$root/var/log/otelet-upgrade.log"
    say "removed the state"
else
    say "kept /etc/otelet and /var/lib/otelet; --purge removes them too"
fi

# The directories, the innermost first. A directory with other files in it stays.
grep '^directory ' "$manifest" | sed 's/^directory //' | sort -r | while IFS= read -r name; do
    if rmdir "$root$name" 2>/dev/null; then say "removed $name"; fi
done

if [ "$purge" = yes ] && [ -z "$root" ]; then
    # Files that a removed user leaves behind would belong to the next user with its number. So the user goes only with its state.
    if grep -qxF 'user otelet' "$manifest"; then
        if command -v userdel >/dev/null 2>&1; then
            userdel otelet
        elif command -v deluser >/dev/null 2>&1; then
            deluser otelet
        else
            sed -i '/^otelet:/d' /etc/passwd
        fi
        say "removed the user otelet"
    fi
    if grep -qxF 'group otelet' "$manifest" && grep -q '^otelet:' /etc/group; then
        if command -v groupdel >/dev/null 2>&1; then
            groupdel otelet
        elif command -v delgroup >/dev/null 2>&1; then
            delgroup otelet
        else
            sed -i '/^otelet:/d' /etc/group
        fi 2>/dev/null || true
    fi
fi
if [ "$purge" = yes ]; then
    rm -rf "$lib"
else
    # The manifest keeps the rows that are left, so that a later --purge finds them.
    grep -e '^settings ' -e '^directory ' -e '^user ' -e '^group ' "$manifest" >"$manifest.new" || true
    mv "$manifest.new" "$manifest"
fi
