# Completion of firn-operator for bash: source this file, or copy it to /usr/share/bash-completion/completions/firn-operator.
_firn_operator() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} all="--log-format --log-level --help"
    case $before in
    --kubeconfig | --output) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    --log-format) mapfile -t COMPREPLY < <(compgen -W "logfmt json" -- "$word"); return ;;
    --log-level) mapfile -t COMPREPLY < <(compgen -W "debug info warn error" -- "$word"); return ;;
    --leader-elect) mapfile -t COMPREPLY < <(compgen -W "true false" -- "$word"); return ;;
    --agent-pull-policy) mapfile -t COMPREPLY < <(compgen -W "IfNotPresent Always Never" -- "$word"); return ;;
    esac
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "run crds ask --help --version" -- "$word")
        return
    fi
    case ${COMP_WORDS[1]} in
    run) all+=" --agent-image --agent-pull-policy --kubeconfig --namespace --leader-elect --lease-namespace --lease-name --identity --http --channel --channel-host --channel-secret --workers --cleanup-timeout --missing-timeout --figures-interval" ;;
    crds) all+=" --output" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$all" -- "$word")
}
complete -F _firn_operator firn-operator
