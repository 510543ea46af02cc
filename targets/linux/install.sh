#!/bin/sh
# Installs or upgrades otelet from the directory of this script: an unpacked archive, or a bundle. It needs no network, and
# only a POSIX shell. It may be run again at any time: files that are up to date stay as they are.
#
#   ./install.sh [--endpoint=URL] [--url=URL] [--settings=FILE] [--wait=SECONDS] [--no-start] [--root=DIR]
#
#   --endpoint=URL  The backend for telemetry, by OTLP/HTTP. Without it nothing leaves the host.
#   --url=URL       The source of configs. [built in]
#   --settings=FILE The settings themselves, with thresholds and checks.
#                   These three are only written if there are no settings yet.
#   --wait=SECONDS  An upgrade that is not healthy after this time is reverted. [120]
#   --no-start      Install, but neither enable nor start the service.
#   --root=DIR      Install into this tree instead of /, for images; implies --no-start.
#   --settle        Only for the service manager, after a boot in the middle of an upgrade: keep the upgrade or revert it.
#
# It lists each file and directory in /usr/local/lib/otelet/manifest before it makes it. uninstall.sh removes these, and nothing
# else. Exit status: 0 installed and, if started, healthy; 1 failed, with the reason on stderr; 64 bad flag.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root='' endpoint='' url='' given='' wait=120 start=yes settle=no
wrong() {
    echo "install.sh: $*" >&2
    exit 64
}
for argument in "$@"; do
    case $argument in
    --endpoint=?*) endpoint=${argument#*=} ;;
    --url=?*) url=${argument#*=} ;;
    --settings=?*) given=${argument#*=} ;;
    --wait=*) wait=${argument#*=} ;;
    --root=?*) root=${argument#*=} start=no ;;
    --no-start) start=no ;;
    --settle) settle=yes ;;
    -h | --help)
        sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) wrong "$argument: no such flag, or no value; see install.sh --help" ;;
    esac
done
case $wait in '' | *[!0-9]*) wrong "--wait=$wait: give whole seconds" ;; esac
if [ -n "$given" ] && [ -n "$url$endpoint" ]; then wrong "--settings=$given: has them all; put --url and --endpoint into the file"; fi
case $endpoint in '' | http://?* | https://?*) ;; *) wrong "--endpoint=$endpoint: give http:// or https://" ;; esac

lib=$root/usr/local/lib/otelet
manifest=$lib/manifest
backup=$lib/previous
bin=$root/usr/local/bin/otelet

say() { echo "install.sh: $*"; }
fail() {
    echo "install.sh: $*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# --- Checks before anything is changed.

check_archive() {
    [ -z "$given" ] || [ -r "$given" ] || fail "--settings=$given: cannot be read"
    [ -f "$here/SHA256SUMS" ] || fail "$here/SHA256SUMS is missing; unpack the whole archive"
    have sha256sum || fail "sha256sum is missing; install coreutils or busybox"
    (cd "$here" && sha256sum -c SHA256SUMS >/dev/null 2>&1) ||
        fail "a file is damaged: $(cd "$here" && sha256sum -c SHA256SUMS 2>&1 | grep -v ': OK$' | head -n 1); copy the archive again"
    [ -n "$root" ] && return
    [ "$(id -u)" = 0 ] || fail "needs root; run it with sudo"
    "$here/otelet" version >/dev/null 2>&1 ||
        fail "$here/otelet does not run here ($(uname -m)); take the archive for this machine's architecture"
    [ -e /etc/otelet/otelet.yaml ] || check_settings
}

# The new agent reads the settings that are to be written. A status of 1 is good: no agent has its status at that place.
check_settings() {
    draft=$(mktemp) || return 0
    if [ -n "$given" ]; then cat "$given"; else new_settings; fi >"$draft"
    code=0
    told=$("$here/otelet" status --settings="$draft" --runtime-dir="$draft.none" 2>&1) || code=$?
    rm -f "$draft"
    [ "$code" = 0 ] || [ "$code" = 1 ] || fail "the settings cannot be used, and nothing was changed:" \
        "$(printf '%s' "$told" | sed "s|$draft|${given:-otelet.yaml}|g")"
}

service_manager() {
    if [ -d "$root/run/systemd/system" ]; then
        echo systemd
    elif [ -x "$root/sbin/openrc-run" ]; then
        echo openrc
    elif [ -d "$root/etc/systemd/system" ] || [ -d "$root/lib/systemd/system" ]; then
        echo systemd
    else
        echo none
    fi
}

# --- Small steps: the power may fail after each of them.

# note KIND NAME: adds a row to the manifest, once, before the thing is made.
note() {
    grep -qxF "$1 $2" "$manifest" 2>/dev/null || echo "$1 $2" >>"$manifest"
}

# directory MODE PATH [OWNER]: makes a directory. One that existed before stays as it is.
directory() {
    if [ ! -d "$root$2" ]; then
        note directory "$2"
        mkdir -p "$root$2"
    fi
    if grep -qxF "directory $2" "$manifest" 2>/dev/null; then
        chmod "$1" "$root$2"
        [ -z "${3:-}" ] || [ -n "$root" ] || chown "$3" "$root$2"
    fi
}

# put SOURCE MODE PATH: installs a file atomically, and keeps a copy of the file before it.
put() {
    if [ -f "$root$3" ] && cmp -s "$1" "$root$3"; then
        return
    fi
    if [ -e "$root$3" ]; then
        keep_previous "$3"
        say "replaces $3"
    else
        note file "$3"
        # Reverting an upgrade removes its new files.
        [ ! -d "$backup" ] || echo "$3" >>"$backup/new"
        say "makes $3"
    fi
    cp "$1" "$root$3.otelet-new"
    chmod "$2" "$root$3.otelet-new"
    sync "$root$3.otelet-new" 2>/dev/null || sync
    mv "$root$3.otelet-new" "$root$3"
    relabel "$3"
    changed=yes
}

# relabel PATH: gives a file the label of its place, where SELinux is there. systemd starts no program with another one.
relabel() {
    if [ -z "$root" ] && have restorecon; then
        restorecon "$1" 2>/dev/null || true
    fi
}

# keep_previous PATH: copies the file once. The first copy is the one from before the upgrade.
keep_previous() {
    [ -d "$backup" ] || return 0
    copy=$backup/tree$1
    [ ! -e "$copy" ] || return 0
    mkdir -p "$(dirname "$copy")"
    cp -p "$root$1" "$copy.new"
    mv "$copy.new" "$copy"
}

# free_id FILE: prints a free number for a system user or group. A small busybox has no tool that makes them.
free_id() {
    number=999
    while grep -q "^[^:]*:[^:]*:$number:" "$1"; do number=$((number - 1)); done
    echo "$number"
}

make_user() {
    [ -z "$root" ] || return 0
    if ! grep -q '^otelet:' /etc/group; then
        note group otelet
        if have groupadd; then
            groupadd --system otelet
        elif have addgroup; then
            addgroup -S otelet
        else
            echo "otelet:x:$(free_id /etc/group):" >>/etc/group
        fi
    fi
    if ! grep -q '^otelet:' /etc/passwd; then
        note user otelet
        if have useradd; then
            useradd --system --gid otelet --home-dir /var/lib/otelet --no-create-home --shell /usr/sbin/nologin otelet
        elif have adduser; then
            adduser -S -D -H -G otelet -h /var/lib/otelet -s /sbin/nologin otelet
        else
            gid=$(sed -n 's/^otelet:[^:]*:\([0-9]*\):.*/\1/p' /etc/group)
            echo "otelet:x:$(free_id /etc/passwd):$gid:otelet:/var/lib/otelet:/bin/false" >>/etc/passwd
        fi
        say "makes the user otelet"
    fi
}

# quoted TEXT: prints it as a string of YAML.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; }

# new_settings: prints those of the flags, or of the bundle.
new_settings() {
    cat "$here/otelet.yaml"
    if [ -f "$here/site.yaml" ]; then
        echo "config:"
        echo "  url: /etc/otelet/site.yaml"
        [ ! -f "$here/site.pub" ] || echo "  public_key: $(tail -n 1 "$here/site.pub")"
    elif [ -n "$url" ]; then
        echo "config:"
        echo "  url: $(quoted "$url")"
    fi
    if [ -f "$here/otelcol" ] || [ -n "$endpoint" ]; then
        echo "collector:"
        [ ! -f "$here/otelcol" ] || echo "  path: /usr/local/bin/otelcol"
        [ -z "$endpoint" ] || echo "  env: {OTEL_EXPORTER_OTLP_ENDPOINT: $(quoted "$endpoint")}"
    fi
}

write_settings() {
    settings=$root/etc/otelet/otelet.yaml
    if [ -e "$settings" ]; then
        say "keeps $settings as it is"
        # A flag without an effect is not passed over in silence.
        for flag in ${url:+--url} ${endpoint:+--endpoint} ${given:+--settings}; do
            say "$flag is left out: it counts for a first installation only; change $settings"
        done
        return
    fi
    note settings /etc/otelet/otelet.yaml
    if [ -n "$given" ]; then cat "$given"; else new_settings; fi >"$settings.otelet-new"
    chmod 640 "$settings.otelet-new"
    [ -n "$root" ] || chown root:otelet "$settings.otelet-new"
    mv "$settings.otelet-new" "$settings"
    say "makes $settings"
}

# put_pages: the man page, which the service names, and what shells complete. An archive made by hand may have none.
put_pages() {
    share=/usr/local/share
    while read -r name to; do
        [ -f "$here/$name" ] || continue
        above=${to%/*}
        # Each missing directory gets its row, so that uninstall.sh removes it.
        for dir in $share $share/man $share/bash-completion $share/zsh $share/fish; do
            case $above in "$dir" | "$dir"/*) directory 755 "$dir" ;; esac
        done
        directory 755 "$above"
        put "$here/$name" 644 "$to"
    done <<PAGES
otelet.8 $share/man/man8/otelet.8
otelet.bash $share/bash-completion/completions/otelet
_otelet $share/zsh/site-functions/_otelet
otelet.fish $share/fish/vendor_completions.d/otelet.fish
PAGES
}

put_all() {
    directory 755 /usr/local/bin
    put "$here/otelet" 755 /usr/local/bin/otelet
    [ ! -f "$here/otelcol" ] || put "$here/otelcol" 755 /usr/local/bin/otelcol
    directory 750 /etc/otelet root:otelet
    if [ -f "$here/site.yaml" ]; then
        # The signature first: so the two differ only for a moment.
        [ ! -f "$here/site.yaml.minisig" ] || put "$here/site.yaml.minisig" 644 /etc/otelet/site.yaml.minisig
        put "$here/site.yaml" 644 /etc/otelet/site.yaml
    fi
    put_pages
    write_settings
    case $manager in
    systemd)
        directory 755 /etc/systemd/system
        sed 's,/usr/bin/otelet,/usr/local/bin/otelet,' "$here/otelet.service" >"$lib/otelet.service"
        put "$lib/otelet.service" 644 /etc/systemd/system/otelet.service
        ;;
    openrc)
        sed 's,/usr/bin/otelet,/usr/local/bin/otelet,' "$here/otelet.openrc" >"$lib/otelet.openrc"
        put "$lib/otelet.openrc" 755 /etc/init.d/otelet
        ;;
    none) say "no systemd and no OpenRC here: have your init system start '/usr/local/bin/otelet run'" ;;
    esac
}

# --- The service.

service() {
    case $manager-$1 in
    systemd-enable) systemctl daemon-reload && systemctl enable otelet >/dev/null 2>&1 ;;
    systemd-*) systemctl "$1" otelet ;;
    openrc-enable) rc-update -q add otelet default 2>/dev/null || true ;;
    openrc-*) rc-service -q otelet "$1" ;;
    none-*) ;;
    esac
}

# True as soon as the Collector is healthy on its config.
healthy() {
    left=$wait
    while :; do
        if "$bin" status --healthy >/dev/null 2>&1; then return 0; fi
        [ "$left" -gt 0 ] || return 1
        left=$((left - 1))
        sleep 1
    done
}

# show_trouble: what the agent says of itself, and the next command.
show_trouble() {
    "$bin" status >&2 2>/dev/null || true
    case $manager in
    systemd)
        journalctl -u otelet -p warning -n 5 -q --no-pager >&2 2>/dev/null || true
        next="journalctl -u otelet"
        ;;
    *)
        grep -E ' (WARN|ERROR) ' /var/log/otelet/otelet.log 2>/dev/null | tail -n 5 >&2 || true
        next="/var/log/otelet/otelet.log"
        ;;
    esac
    say "next: otelet validate, otelet status, $next" >&2
}

# A binary that cannot run at all prints nothing.
why_not() { "$bin" status --healthy 2>&1 | head -n 1 | grep . || echo "otelet status --healthy prints nothing"; }

# --- An upgrade can be reverted: until it is healthy, $backup holds the files from before it.

begin_upgrade() {
    [ "$start" = yes ] && [ -x "$bin" ] || return 0
    if [ -d "$backup" ]; then
        say "an earlier upgrade was interrupted; continuing it"
        return
    fi
    # An upgrade is reverted only to an installation that was healthy.
    wait_after=$wait wait=5
    was=sick
    healthy && was=healthy
    wait=$wait_after
    if [ $was = healthy ]; then
        mkdir -p "$backup.new/tree"
        mv "$backup.new" "$backup"
        cp "$0" "$lib/install.sh"
        guard_boot
    fi
}

# After a power cut in the middle of an upgrade, the next boot keeps the upgrade or reverts it.
guard_boot() {
    case $manager in
    systemd) guard_boot_by_systemd ;;
    openrc) guard_boot_by_openrc ;;
    esac
}

guard_boot_by_systemd() {
    cat >/etc/systemd/system/otelet-upgrade.service <<UNIT
[Unit]
Description=Keep or revert an interrupted upgrade of otelet
After=otelet.service
[Service]
Type=oneshot
ExecStart=/bin/sh $lib/install.sh --settle --wait=$wait
[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload
    systemctl enable otelet-upgrade >/dev/null 2>&1
}

guard_boot_by_openrc() {
    # In the background, so that the boot does not wait for it.
    cat >/etc/init.d/otelet-upgrade <<SERVICE
#!/sbin/openrc-run
description="Keep or revert an interrupted upgrade of otelet"
start() {
    ebegin "Finishing an interrupted upgrade of otelet"
    /bin/sh $lib/install.sh --settle --wait=$wait >>/var/log/otelet-upgrade.log 2>&1 </dev/null &
    eend 0
}
depend() {
    after otelet
}
SERVICE
    chmod 755 /etc/init.d/otelet-upgrade
    rc-update -q add otelet-upgrade default
}

unguard_boot() {
    if [ -f /etc/systemd/system/otelet-upgrade.service ]; then
        systemctl disable otelet-upgrade >/dev/null 2>&1 || true
        rm -f /etc/systemd/system/otelet-upgrade.service
        systemctl daemon-reload
    elif [ -f /etc/init.d/otelet-upgrade ]; then
        rc-update -q del otelet-upgrade default || true
        # This service may be running this script: zap forgets it without stopping it.
        rc-service -q otelet-upgrade zap || true
        rm -f /etc/init.d/otelet-upgrade
    fi
}

finish_upgrade() {
    unguard_boot
    rm -rf "$backup" "$lib/install.sh"
}

take_back() {
    (cd "$backup/tree" && find . -type f) | sed 's/^\.//' | while IFS= read -r path; do
        cp -p "$backup/tree$path" "$root$path.otelet-new"
        mv "$root$path.otelet-new" "$root$path"
        relabel "$path"
    done
    if [ -f "$backup/new" ]; then
        while IFS= read -r path; do rm -f "$root$path"; done <"$backup/new"
    fi
    service enable
    service restart || true
}

settle() {
    [ -d "$backup" ] || return 0
    if healthy; then
        say "the upgrade is healthy"
        finish_upgrade
        return 0
    fi
    why=$(why_not) || true
    show_trouble
    say "the upgrade is not healthy after ${wait}s ($why); reverting it" >&2
    take_back
    if healthy; then
        finish_upgrade
        fail "upgrade reverted; the previous version runs again"
    fi
    finish_upgrade
    why=$(why_not) || true
    show_trouble
    fail "upgrade reverted, and the previous version is not healthy either: $why"
}

# --- The installation.

manager=$(service_manager)
changed=no
if [ "$settle" = yes ]; then
    settle
    exit 0
fi
check_archive
mkdir -p "$lib"
begin_upgrade
make_user
put_all
if [ "$start" = no ] || [ "$manager" = none ]; then
    say "installed; not started"
    exit 0
fi
service enable
if [ "$changed" = yes ]; then
    # Settings would need only a signal, but another binary needs a restart. If it does not start, it is reverted below.
    service restart || [ -d "$backup" ] || {
        show_trouble
        fail "the service does not start"
    }
else
    service start
fi
if [ -d "$backup" ]; then
    settle
elif healthy; then
    say "installed and healthy"
else
    why=$(why_not) || true
    show_trouble
    fail "installed, but not healthy after ${wait}s: $why"
fi
