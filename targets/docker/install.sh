#!/bin/sh
# Runs otelet in a container with `docker run`, in the same way as targets/docker/compose.yaml does with Compose. It may be run
# again at any time, also with another image or endpoint: the volume keeps config, offsets and identity.
set -eu

usage() {
  cat <<'END'
Usage: install.sh [--flag=value ...]

  --image=IMAGE      The image, with a Collector in it; pulled if it is missing. [otelet:latest, which is not pulled]
  --load=FILE        Load the image from this file (cargo xtask image), and run it.
  --endpoint=URL     The backend for telemetry, by OTLP/HTTP. Without it nothing leaves the host.
  --url=URL          The source of the Collector's config. [built in]
  --settings=FILE    The agent's settings on this host, with thresholds and checks (docs/settings.md).
  --env-file=FILE    More variables, one NAME=VALUE a line: OTEL_EXPORTER_OTLP_AUTHORIZATION, OTELET_...
  --user=UID:GID     Run as another user than root, without the logs of containers. auto: 65532 and the group of the socket.
  --socket=PATH      The engine's socket. [/run/docker.sock]
  --memory=SIZE      The limit for agent and Collector. [256m]
  --name=NAME        The container's name; its volume is NAME-state. [otelet]
  --wait=SECONDS     A container that is not healthy after this time is replaced by the one before it. [60]
  --uninstall        Remove the container; with --purge its volume too.

DOCKER names another client, such as podman. Exit status: 0 done, 1 failed, 64 bad flag.
END
}

image='' load='' endpoint='' url='' settings='' env_file='' user=0:0 socket=/run/docker.sock
memory=256m name=otelet wait=60 uninstall='' purge=''
docker=${DOCKER:-docker}

say() { echo "otelet: $*"; }
fail() { echo "otelet: $*" >&2; exit 1; }
wrong() { echo "install.sh: $*" >&2; exit 64; }

for flag in "$@"; do
  value=${flag#*=}
  case $flag in
  --image=?*) image=$value ;;
  --load=?*) load=$value ;;
  --endpoint=?*) endpoint=$value ;;
  --url=?*) url=$value ;;
  --settings=?*) settings=$value ;;
  --env-file=?*) env_file=$value ;;
  --user=?*) user=$value ;;
  --socket=?*) socket=$value ;;
  --memory=?*) memory=$value ;;
  --name=?*) name=$value ;;
  --wait=?*) wait=$value ;;
  --uninstall) uninstall=1 ;;
  --purge) purge=1 ;;
  --help | -h) usage; exit 0 ;;
  *) echo "install.sh: $flag: no such flag, or no value" >&2; usage >&2; exit 64 ;;
  esac
done
[ -z "$purge" ] || [ -n "$uninstall" ] || wrong "--purge: only with --uninstall"
case $wait in *[!0-9]*) wrong "--wait=$wait: give whole seconds" ;; esac
case $user in auto | *[!0-9:]* | :* | *: | *:*:*) [ "$user" = auto ] || wrong "--user=$user: give numbers, as 65532:999, or auto" ;; esac

command -v "$docker" >/dev/null || fail "there is no $docker; install Docker, or name another client with DOCKER="
"$docker" version >/dev/null 2>&1 || fail "no engine answers '$docker version'; is it running, and may this user use it?"

exists() { "$docker" "$1" inspect "$2" >/dev/null 2>&1; }
previous=$name-previous

# remove CONTAINER
remove() {
  exists container "$1" || return 0
  # Not killed at once: the Collector may take 30 s to drain.
  "$docker" stop --time=45 "$1" >/dev/null
  "$docker" rm "$1" >/dev/null
}

if [ -n "$uninstall" ]; then
  remove "$previous"
  if exists container "$name"; then
    remove "$name"
    say "removed the container $name"
  else
    say "there is no container $name"
  fi
  if ! exists volume "$name-state"; then
    say "there is no volume $name-state"
  elif [ -n "$purge" ]; then
    "$docker" volume rm "$name-state" >/dev/null
    say "removed the volume $name-state"
  else
    say "kept the volume $name-state with identity, config and unsent data; --purge removes it"
  fi
  exit 0
fi

# --- Checks before anything is changed.

if [ -n "$load" ]; then
  [ -r "$load" ] || fail "$load: cannot be read"
  loaded=$("$docker" load --input "$load") || fail "$load: cannot be loaded"
  say "$loaded"
  # The engine prints: Loaded image: otelet:0.1.0
  [ -n "$image" ] || image=$(printf '%s\n' "$loaded" | sed -n 's/^Loaded image.*: //p' | tail -n 1)
fi
if [ -z "$image" ]; then
  image=otelet:latest
  exists image "$image" || fail "there is no image $image; build it, name one with --image, or a file with --load"
fi
exists image "$image" || "$docker" pull "$image" || fail "there is no image $image; name one with --image, or a file with --load"
[ -S "$socket" ] || fail "$socket: not a socket; name the engine's with --socket"
if [ "$user" = auto ]; then
  user=65532:$(stat -c %g "$socket")
  say "runs as $user, with the group of $socket; logs of containers belong to root and are left out"
fi
uid=${user%%:*}
[ -z "$env_file" ] || [ -r "$env_file" ] || fail "$env_file: cannot be read"

# may_read FILE GROUP: whether a process of this user and group, without any capability, may read it.
may_read() {
  mode=0$(stat -c %a "$1")
  if [ "$(stat -c %u "$1")" = "$uid" ]; then
    [ $((mode & 0400)) != 0 ]
  elif [ "$(stat -c %g "$1")" = "$2" ]; then
    [ $((mode & 040)) != 0 ]
  else
    [ $((mode & 04)) != 0 ]
  fi
}

if [ -n "$settings" ]; then
  [ -f "$settings" ] || fail "--settings=$settings: there is no such file"
  settings=$(readlink -f "$settings")
  may_read "$settings" "${user##*:}" || fail "$settings: uid $uid in the container may not read it; chown or chmod it"
fi

# The system logs that the built-in config reads, and the groups that it needs for that: on Ubuntu they are syslog's.
groups='' readable='' closed=''
for file in /var/log/syslog /var/log/messages /var/log/auth.log /var/log/secure /var/log/kern.log; do
  [ -f "$file" ] || continue
  group=$(stat -c %g "$file")
  if ! may_read "$file" "$group"; then
    closed="$closed $file"
    continue
  fi
  readable="$readable $file"
  if ! may_read "$file" none; then
    case " $groups " in *" $group "*) ;; *) groups="$groups $group" ;; esac
  fi
done

# Files of the volume that belong to another user would make this a new agent, without the old one's offsets and unsent data.
check_state() {
  exists volume "$name-state" || return 0
  at=$("$docker" volume inspect --format '{{.Mountpoint}}' "$name-state")
  owner=''
  case $("$docker" info --format '{{.SecurityOptions}}' 2>/dev/null) in
  # There a user has another number on the host.
  *userns* | *rootless*) ;;
  *) if [ "$(id -u)" = 0 ] && [ -f "$at/instance_uid" ]; then owner=$(stat -c %u "$at/instance_uid"); fi ;;
  esac
  if [ -z "$owner" ] && exists container "$name"; then
    owner=$("$docker" container inspect --format '{{.Config.User}}' "$name")
    owner=${owner%%:*}
    case $owner in '' | root) owner=0 ;; *[!0-9]*) return 0 ;; esac
  fi
  [ -n "$owner" ] && [ "$owner" != "$uid" ] || return 0
  echo "otelet: the volume $name-state belongs to uid $owner, and uid $uid could not use it; nothing was changed" >&2
  echo "otelet: keep the user: --user=$owner:$owner" >&2
  echo "otelet: or give the volume to the new one first: $docker stop $name; chown -R $user $at" >&2
  exit 1
}
check_state

# The Collector gets four fifths of the limit.
case $memory in
*[!0-9]*m | *[!0-9]*M | m | M) fail "--memory=$memory: give MiB as 256m" ;;
*m | *M) budget=$((${memory%?} * 4 / 5)) ;;
*) fail "--memory=$memory: give MiB as 256m" ;;
esac

# The reasons for each of these are in compose.yaml.
set -- --user "$user" --cap-drop ALL --security-opt no-new-privileges:true --read-only \
  --network host --memory "$memory" --pids-limit 256 --stop-timeout 45 \
  --tmpfs /run/otelet:size=4m,mode=1777 --tmpfs /tmp:size=16m,mode=1777 \
  --volume /:/hostfs:ro \
  --log-driver json-file --log-opt max-size=10m --log-opt max-file=3 \
  --env OTELET_HOST_ROOT=/hostfs --env "OTELET_DOCKER_SOCKET=/hostfs$(readlink -f "$socket")" \
  --env OTELET_EXPORT_TO=collector --env OTELET_EXPORT_METRICS=agent \
  --env "OTELET_COLLECTOR_MEMORY_LIMIT=${budget}MiB"
for group in $groups; do set -- "$@" --group-add "$group"; done
[ -z "$endpoint" ] || set -- "$@" --env "OTEL_EXPORTER_OTLP_ENDPOINT=$endpoint"
[ -z "$url" ] || set -- "$@" --env "OTELET_CONFIG_URL=$url"
# Below the host's root, so that a file which an editor puts in its place is seen.
[ -z "$settings" ] || set -- "$@" --env "OTELET_SETTINGS=/hostfs$settings"
[ -z "$env_file" ] || set -- "$@" --env-file "$env_file"

# The new image reads its settings before the old container is stopped. A status of 1 is good: no agent runs in there.
code=0
told=$("$docker" run --rm "$@" "$image" status 2>&1) || code=$?
[ "$code" -le 1 ] || fail "$image does not take these settings, and nothing was changed (status $code): $told"

# --- A container that was healthy comes back if the new one is not.

healthy() { "$docker" exec "$1" /usr/local/bin/otelet status --healthy >/dev/null 2>&1; }

why_not() {
  case $("$docker" container inspect --format '{{.State.Status}}' "$name" 2>/dev/null) in
  running) "$docker" exec "$name" /usr/local/bin/otelet status --healthy 2>&1 | head -n 1 ;;
  *) "$docker" container inspect --format 'the container is {{.State.Status}}, with code {{.State.ExitCode}}' "$name" 2>&1 ;;
  esac
}

# give_up REASON: shows what the new one said, and puts the one before it back.
give_up() {
  trap '' INT TERM HUP
  "$docker" exec "$name" /usr/local/bin/otelet status >&2 2>/dev/null || true
  "$docker" logs "$name" 2>&1 | grep -E '^[^ ]+ (WARN|ERROR) ' | tail -n 5 >&2 || true
  if ! exists container "$previous"; then
    fail "$1; the container stays: '$docker exec $name otelet status' and '$docker logs $name' show more"
  fi
  remove "$name"
  "$docker" rename "$previous" "$name"
  "$docker" start "$name" >/dev/null
  left=$wait
  until healthy "$name" || [ "$left" -le 0 ]; do
    left=$((left - 1))
    sleep 1
  done
  healthy "$name" || fail "$1; it was removed, and the one before it runs again, not healthy yet: $(why_not)"
  fail "$1; it was removed, and the one before it runs again"
}

if exists container "$previous"; then
  say "an earlier run was interrupted; continuing it"
  remove "$name"
elif exists container "$name"; then
  say "replacing the container $name; the volume $name-state stays"
  if healthy "$name"; then
    "$docker" stop --time=45 "$name" >/dev/null
    "$docker" rename "$name" "$previous"
  else
    remove "$name"
  fi
fi
trap 'give_up interrupted' INT TERM HUP
"$docker" run --detach --name "$name" --restart unless-stopped --volume "$name-state:/var/lib/otelet" "$@" "$image" >/dev/null || give_up "the new container does not start"
say "started $name from $image as $user"
[ -n "$endpoint" ] || [ -n "$env_file" ] || say "nothing leaves this host yet: name a backend with --endpoint"

# The engine's own health check runs only later, so the agent is asked directly.
left=$wait
until healthy "$name"; do
  [ "$left" -gt 0 ] || give_up "not healthy after ${wait}s: $(why_not)"
  left=$((left - 1))
  sleep 1
done
trap - INT TERM HUP
remove "$previous"
if [ -n "$url" ]; then
  :
elif [ -n "$readable" ]; then
  say "reads the system logs$readable"
else
  say "reads no system logs: this host has no file of them that uid $uid may read (a container does not read the journal); install rsyslog"
fi
[ -z "$closed" ] || say "does not read$closed: only their owner may"
[ -z "$settings" ] || say "settings: $settings; after a change: $docker kill --signal=HUP $name"
"$docker" logs "$name" 2>&1 | grep ' belongs to uid ' | head -n 1 || true
say "healthy; '$docker exec $name otelet status' shows more"
