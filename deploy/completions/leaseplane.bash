# SPDX-License-Identifier: Apache-2.0
# bash completion for leasectl and leaseplaned. What there is to complete is asked of the programs
# themselves, so it is what the installed version knows.

# _leaseplane_help_words KIND PROGRAM [COMMAND]: the options or the commands in its help.
_leaseplane_help_words() {
  local kind=$1
  shift
  "$@" --help 2>/dev/null | awk -v kind="$kind" '
    /^[A-Z][A-Za-z]*:/ { section = $1; next }
    kind == "options" && section == "Options:" && /^  -/ {
      split($1, names, ",")
      for (i in names) print names[i]
    }
    kind == "commands" && section == "Subcommands:" && /^  [a-z]/ { print $1 }'
}

# Ids of the pools, if a daemon answers at once.
_leaseplane_pools() {
  local -a server=()
  local i
  for ((i = 1; i < ${#COMP_WORDS[@]}; ++i)); do
    if [[ ${COMP_WORDS[i]} == --server ]]; then server=(--server "${COMP_WORDS[i + 1]}"); fi
  done
  "$1" "${server[@]}" --timeout 1s pools -o json 2>/dev/null |
    sed -n 's/.*"name": *"pools\/\([^"/]*\)".*/\1/p'
}

# The value of an option; false if `previous` takes none.
_leaseplane_value() {
  local previous=$1 current=$2
  case $previous in
    -o | --output) mapfile -t COMPREPLY < <(compgen -W "table json" -- "$current") ;;
    --path) mapfile -t COMPREPLY < <(compgen -W "auto local remote" -- "$current") ;;
    --log-level)
      mapfile -t COMPREPLY < <(compgen -W "debug info warning error" -- "$current") ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W "text json" -- "$current") ;;
    --config | --tls-* | --token-file | --tokens-file | --socket)
      mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    --state-dir) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    --server) mapfile -t COMPREPLY < <(compgen -W "unix:///run/leaseplane/leaseplane.sock" \
      -- "$current") ;;
    --timeout | --ttl | --wait | --grace | --kill-after | --reason | --conflict-exit-code | \
      --client-id | --request-id | --pool | *listen | --drain-timeout | --*-grace | \
      --reload-interval | --token-floor) COMPREPLY=() ;;
    *) return 1 ;;
  esac
}

_leasectl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local command="" commands word
  commands=$(_leaseplane_help_words commands "$1")
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ $word == -- ]]; then
      compopt -o default 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -c -- "$current")
      return
    fi
    if [[ -z $command && $'\n'$commands$'\n' == *$'\n'"$word"$'\n'* ]]; then command=$word; fi
  done
  if _leaseplane_value "$previous" "$current"; then return; fi
  local candidates
  if [[ $current == -* ]]; then
    candidates=$(_leaseplane_help_words options "$1")
    if [[ -n $command ]]; then
      candidates+=$'\n'$(_leaseplane_help_words options "$1" "$command")
    fi
  elif [[ -z $command ]]; then
    candidates=$commands
  else
    candidates=$(_leaseplane_pools "$1")
  fi
  mapfile -t COMPREPLY < <(compgen -W "$candidates" -- "$current")
}

_leaseplaned() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  if _leaseplane_value "$previous" "$current"; then return; fi
  mapfile -t COMPREPLY < <(compgen -W "$(_leaseplane_help_words options "$1")" -- "$current")
}

complete -F _leasectl leasectl
complete -F _leaseplaned leaseplaned
