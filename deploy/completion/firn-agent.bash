# Completion of firn-agent for bash: source this file, or copy it to /usr/share/bash-completion/completions/firn-agent.
_firn_agent() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} all="--file --secrets --log-format --log-level --help"
    case $before in
    -f | --file | --secrets) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W "logfmt json" -- "$word"); return ;;
    --log-level) mapfile -t COMPREPLY < <(compgen -W "debug info warn error" -- "$word"); return ;;
    --progress) mapfile -t COMPREPLY < <(compgen -W "auto always never" -- "$word"); return ;;
    esac
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "run capture ingest validate inspect drop maintain --help --version" -- "$word")
        return
    fi
    case ${COMP_WORDS[1]} in
    run) all+=" --http --channel --channel-ca --channel-token --progress --resnapshot --stop-timeout --no-maintenance" ;;
    inspect) all+=" --table --json" ;;
    drop) all+=" --yes" ;;
    maintain) all+=" --http --once --dry-run" ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$all" -- "$word")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -F _firn_agent firn-agent
