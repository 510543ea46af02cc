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
  --env-file=FILE    More variables, one NAME=VALUE a line: OTEL_EXPORTER_OTLP_AUTHORIZATION, OTELET_...
  --user=UID:GID     Run as another user than root, without the logs of containers. auto: 65532 and the group of the socket.
  --socket=PATH      The engine's socket. [/var/run/docker.sock]
  --memory=SIZE      The limit for agent and Collector. [256m]
  --name=NAME        The container's name; its volume is NAME-state. [otelet]
  --uninstall        Remove the container; with --purge its volume too.

DOCKER names another client, such as podman. Exit status: 0 done, 1 failed, 64 bad flag.
END
}

image='' load='' endpoint='' url='' env_file='' user=0:0 socket=/var/run/docker.sock
memory=256m name=otelet uninstall='' purge=''
docker=${DOCKER:-docker}

say() { echo "otelet: $*"; }
fail() { echo "otelet: $*" >&2; exit 1; }

for flag in "$@"; do
  value=${flag#*=}
  case $flag in
  --image=?*) image=$value ;;
  --load=?*) load=$value ;;
  --endpoint=?*) endpoint=$value ;;
  --url=?*) url=$value ;;
  --env-file=?*) env_file=$value ;;
  --user=?*) user=$value ;;
  --socket=?*) socket=$value ;;
  --memory=?*) memory=$value ;;
  --name=?*) name=$value ;;
  --uninstall) uninstall=1 ;;
  --purge) purge=1 ;;
  --help | -h) usage; exit 0 ;;
  *) echo "install.sh: $flag: no such flag, or no value" >&2; usage >&2; exit 64 ;;
  esac
done
if [ -n "$purge" ] && [ -z "$uninstall" ]; then
  echo "install.sh: --purge: only with --uninstall" >&2
  exit 64
fi

command -v "$docker" >/dev/null || fail "there is no $docker; install Docker, or name another client with DOCKER="
"$docker" version >/dev/null 2>&1 || fail "no engine answers '$docker version'; is it running, and may this user use it?"

exists() { "$docker" "$1" inspect "$2" >/dev/null 2>&1; }

remove() {
  exists container "$name" || return 0
  # Not killed at once: the Collector may take 30 s to drain.
  "$docker" stop --time=45 "$name" >/dev/null
  "$docker" rm "$name" >/dev/null
}

if [ -n "$uninstall" ]; then
  if exists container "$name"; then
    remove
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
[ -z "$env_file" ] || [ -r "$env_file" ] || fail "$env_file: cannot be read"

# The Collector gets four fifths of the limit.
case $memory in
*[!0-9]*m | *[!0-9]*M | m | M) fail "--memory=$memory: give MiB as 256m" ;;
*m | *M) budget=$((${memory%?} * 4 / 5)) ;;
*) fail "--memory=$memory: give MiB as 256m" ;;
esac

# The reasons for each of these are in compose.yaml.
set -- --detach --name "$name" --restart unless-stopped \
  --user "$user" --cap-drop ALL --security-opt no-new-privileges:true --read-only \
  --network host --memory "$memory" --pids-limit 256 --stop-timeout 45 \
  --tmpfs /run/otelet:size=4m,mode=1777 --tmpfs /tmp:size=16m,mode=1777 \
  --volume "$name-state:/var/lib/otelet" --volume /:/hostfs:ro \
  --log-driver json-file --log-opt max-size=10m --log-opt max-file=3 \
  --env OTELET_HOST_ROOT=/hostfs --env "OTELET_DOCKER_SOCKET=/hostfs$(readlink -f "$socket")" \
  --env OTELET_EXPORT_TO=collector --env OTELET_EXPORT_METRICS=agent \
  --env "OTELET_COLLECTOR_MEMORY_LIMIT=${budget}MiB"
[ -z "$endpoint" ] || set -- "$@" --env "OTEL_EXPORTER_OTLP_ENDPOINT=$endpoint"
[ -z "$url" ] || set -- "$@" --env "OTELET_CONFIG_URL=$url"
[ -z "$env_file" ] || set -- "$@" --env-file "$env_file"

if exists container "$name"; then
  say "replacing the container $name; the volume $name-state stays"
  remove
fi
"$docker" run "$@" "$image" >/dev/null
say "started $name from $image as $user"
[ -n "$endpoint" ] || [ -n "$env_file" ] || say "nothing leaves this host yet: name a backend with --endpoint"

# The engine's own health check runs only later, so the agent is asked directly.
tries=60
until "$docker" exec "$name" /usr/local/bin/otelet status --healthy >/dev/null 2>&1; do
  tries=$((tries - 1))
  if [ "$tries" = 0 ]; then
    "$docker" logs --tail 20 "$name" >&2
    fail "not healthy after a minute; the last lines of its log are above, and '$docker logs $name' shows all of it"
  fi
  sleep 1
done
say "healthy; '$docker exec $name otelet status' shows more"
