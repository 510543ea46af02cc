# Completion of otelet for bash.
_otelet() {
    local word=${COMP_WORDS[COMP_CWORD]} flag=
    # To bash, --flag=value is three words.
    if [ "$word" = = ]; then
        flag=${COMP_WORDS[COMP_CWORD - 1]} word=
    elif [ "${COMP_WORDS[COMP_CWORD - 1]}" = = ]; then
        flag=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $flag in
    --config-protocol) COMPREPLY=($(compgen -W 'get kloudmate opamp' -- "$word")) ;;
    --config-role) COMPREPLY=($(compgen -W 'host docker daemonset deployment' -- "$word")) ;;
    --config-redirects) COMPREPLY=($(compgen -W 'same any' -- "$word")) ;;
    --collector-on-replaced) COMPREPLY=($(compgen -W 'restart wait' -- "$word")) ;;
    --collector-log) COMPREPLY=($(compgen -W 'pass drop' -- "$word")) ;;
    --export-metrics) COMPREPLY=($(compgen -W 'all agent none' -- "$word")) ;;
    --environment) COMPREPLY=($(compgen -W 'auto host docker daemonset deployment' -- "$word")) ;;
    --log-level) COMPREPLY=($(compgen -W 'error warn info debug trace' -- "$word")) ;;
    --settings | --config-url | --config-bearer-token-file | --config-ca-file | --config-client-cert-file | --config-client-key-file | --collector-path | --host-root | --docker-socket | --state-dir | --runtime-dir | --log-file | --output)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        ;;
    ?*) COMPREPLY=() ;;
    *)
        local at command= flags='--help --version'
        for ((at = 1; at < COMP_CWORD; at++)); do
            case ${COMP_WORDS[at]} in
            run | validate | status | rollback | doctor | diagnose | version | help) command=${COMP_WORDS[at]} && break ;;
            esac
        done
        case $command in
        help | version) ;;
        *) flags+=' --settings= --config-url= --config-protocol= --config-role= --config-cluster= --config-fallback-after= --config-public-key= --config-poll-every= --config-redirects= --config-timeout= --config-max-size= --config-bearer-token-file= --config-ca-file= --config-client-cert-file= --config-client-key-file= --config-http-proxy= --config-https-proxy= --config-no-proxy= --collector-path= --collector-start-timeout= --collector-validate-timeout= --collector-stop-timeout= --collector-probation= --collector-on-replaced= --collector-log= --collector-log-rate= --collector-memory-limit= --collector-nice= --collector-oom-score-adj= --collector-run-as= --report-url= --report-every= --host-root= --host-sample-every= --export-to= --export-metrics= --export-every= --export-buffer= --webhook-url= --webhook-every= --docker-socket= --docker-usage-every= --environment= --identity= --standby= --state-dir= --runtime-dir= --log-level=' ;;
        esac
        case $command in
        run | '') flags+=' --log-file=' ;;
        status | doctor) flags+=' --json' ;;
        status) flags+=' --watch --healthy' ;;
        rollback) flags+=' --clear --clear-signed' ;;
        diagnose) flags+=' --output=' ;;
        esac
        # A command stands alone, or behind help.
        case $command in
        '' | help) flags+=' run validate status rollback doctor diagnose version help' ;;
        esac
        COMPREPLY=($(compgen -W "$flags" -- "$word"))
        if [[ ${COMPREPLY-} == *= ]]; then compopt -o nospace; fi
        ;;
    esac
}
complete -F _otelet otelet
