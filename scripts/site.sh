# A server and an agent in one scratch folder, for `demo` and `up`: no root, a free port of the loopback, ended by process id.
# Sourced with `bin` (the folder of the programs) and `folder` (the scratch folder) set.

fail() { echo "$*" >&2; exit 1; }

free_port() {
  /usr/bin/python3 -c 'import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])'
}

# until_true SECONDS WHAT COMMAND…: asks until the command succeeds.
until_true() {
  local seconds=$1 what=$2 end
  shift 2
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || { logs; fail "not within $seconds s: $what"; }
    sleep 0.05
  done
}

logs() {
  local log
  for log in "$folder"/*.log; do
    [ ! -s "$log" ] || { echo "--- the end of $log"; tail -n 15 "$log"; } >&2
  done
}

# in_background NAME COMMAND…: the program outlives this shell; its pid is in NAME.pid, its words in NAME.log.
in_background() {
  local name=$1
  shift
  setsid "$@" </dev/null >>"$folder/$name.log" 2>&1 &
  echo $! >"$folder/$name.pid"
  disown
}

# The pid of NAME while it is the program that we started, and not somebody who got its number afterwards.
pid_of() {
  local pid
  pid=$(cat "$folder/$1.pid" 2>/dev/null) && [[ $(readlink "/proc/$pid/exe") == "$bin"/* ]] && echo "$pid"
}

stop() {  # NAME
  local pid end=$((SECONDS + 30))
  pid=$(pid_of "$1") || { rm -f "$folder/$1.pid"; return 0; }
  kill -TERM "$pid"
  while pid_of "$1" >/dev/null; do
    if ((SECONDS >= end)); then
      echo "$1 ($pid) did not stop within 30 s and is killed" >&2
      kill -KILL "$pid"
      end=$((SECONDS + 5))
    fi
    sleep 0.05
  done
  rm -f "$folder/$1.pid"
}

server_answers() { curl -sf --cacert "$CA" "$URL/readyz"; }
agent_answers() { "$bin/agenttask" list --state-dir "$folder/agent"; }

start_server() {
  in_background server "$bin/agenttask-server" run --state-dir "$folder/server" --listen "127.0.0.1:$PORT"
  until_true 30 "the server answers" server_answers
}

start_agent() {
  in_background agent "$bin/agenttaskd" --state-dir "$folder/agent"
  until_true 30 "the agent answers" agent_answers
}

enrolled() { NODE=$("$bin/agenttask" status --json --state-dir "$folder/agent" | jq -er '.server | select(.enrolled) | .nodeId'); }
