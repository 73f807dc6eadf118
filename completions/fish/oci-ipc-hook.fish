# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_oci_ipc_hook_global_optspecs
    string join \n profile= profile-file= config= profiles-dir= memory= h/help V/version
end

function __fish_oci_ipc_hook_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_oci_ipc_hook_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_oci_ipc_hook_using_subcommand
    set -l cmd (__fish_oci_ipc_hook_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -l profile -d 'Profile by name; may stand several times' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -l profile-file -d 'Profile by file; may stand several times' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -l config -d 'Policy instead of /etc/oci-ipc-hook/config.toml' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -l memory -d 'A memory limit for formulas, besides those that are found' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -s V -l version -d 'Print version'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "hook" -d 'Prepare the container whose OCI state is on standard input'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "cleanup" -d 'Remove what the hook left for a container that has stopped'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "plan" -d 'Show what would be done, change nothing'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "apply" -d 'Prepare a namespace that exists'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "inspect" -d 'Show limits, use and objects of a namespace'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "check" -d 'Check policy, profiles and hooks.d files'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "doctor" -d 'Find out whether containers here would be prepared, and why not'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "profiles" -d 'List profiles, or show one with its numbers'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "inject" -d 'Add the hook to a config.json'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "wrap" -d 'Be a runtime that adds the hook: for Docker and containerd'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "print-config" -d 'Print what an engine\'s configuration needs, from this installation'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "demo" -d 'The whole job in a namespace of its own, shown step by step'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand hook" -l profile -d 'Profile by name; may stand several times' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand hook" -l profile-file -d 'Profile by file; may stand several times' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand hook" -l config -d 'Policy instead of /etc/oci-ipc-hook/config.toml' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand hook" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand hook" -l memory -d 'A memory limit for formulas, besides those that are found' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand hook" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand cleanup" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l pid -d 'The namespace of this process' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l ns -d 'A namespace file' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l state -d 'OCI state of the container; its annotations count ("-": standard input)' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l bundle -d 'Bundle of the container' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l profile -d 'Profile by name; may stand several times' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l profile-file -d 'Profile by file; may stand several times' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l config -d 'Policy instead of /etc/oci-ipc-hook/config.toml' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l memory -d 'A memory limit for formulas, besides those that are found' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l self -d 'The container\'s own namespace, from inside'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -l json -d 'The report as JSON'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand plan" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l pid -d 'The namespace of this process' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l ns -d 'A namespace file' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l state -d 'OCI state of the container; its id and annotations count ("-": standard input)' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l bundle -d 'Bundle of the container' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l profile -d 'Profile by name; may stand several times' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l profile-file -d 'Profile by file; may stand several times' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l config -d 'Policy instead of /etc/oci-ipc-hook/config.toml' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l memory -d 'A memory limit for formulas, besides those that are found' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l self -d 'The container\'s own namespace, from inside'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -l json -d 'The report as JSON'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand apply" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inspect" -l pid -d 'The namespace of this process' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inspect" -l ns -d 'A namespace file' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inspect" -l record -d 'What is recorded of this container, and what has changed since; works for one that has failed or ended' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inspect" -l output -d 'Into this file, which is replaced as a whole' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inspect" -l all -d 'All namespaces of this machine'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inspect" -l json -d 'As JSON'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inspect" -l prometheus -d 'As metrics in Prometheus\' text format'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inspect" -l as-profile -d 'As a profile that makes such a namespace'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inspect" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand check" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand doctor" -l state -d 'OCI state of a container: would it be prepared?' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand doctor" -l bundle -d 'Bundle of a container: would it be prepared?' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand doctor" -l annotation -d 'Annotation of a container: would it be prepared? May stand several times' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand doctor" -l json -d 'As JSON'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and not __fish_seen_subcommand_from list show import export help" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and not __fish_seen_subcommand_from list show import export help" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and not __fish_seen_subcommand_from list show import export help" -f -a "list" -d 'Name and description of every profile'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and not __fish_seen_subcommand_from list show import export help" -f -a "show" -d 'One profile with its numbers'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and not __fish_seen_subcommand_from list show import export help" -f -a "import" -d 'Make a profile of sysctl.conf files; "-" is standard input'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and not __fish_seen_subcommand_from list show import export help" -f -a "export" -d 'Print a profile\'s sysctls as an engine\'s own flags or fields'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and not __fish_seen_subcommand_from list show import export help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from list" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from list" -l json -d 'As JSON'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from show" -l memory -d 'Memory that formulas are computed from; default: this machine\'s' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from show" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from show" -l json -d 'As JSON'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from import" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from import" -l at-least -d 'Only raise: every value is written with ">="'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from export" -l memory -d 'Memory that the container will have, for formulas' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from export" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from export" -l podman -d 'Flags of podman run'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from export" -l docker -d 'Flags of docker run'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from export" -l kubernetes -d 'A pod\'s securityContext'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from help" -f -a "list" -d 'Name and description of every profile'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from help" -f -a "show" -d 'One profile with its numbers'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from help" -f -a "import" -d 'Make a profile of sysctl.conf files; "-" is standard input'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from help" -f -a "export" -d 'Print a profile\'s sysctls as an engine\'s own flags or fields'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand profiles; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inject" -l bundle -d 'Directory of the config.json that is changed in place' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inject" -l stage -d 'Stage at which the hook is called' -r -f -a "createRuntime\t'The right one'
prestart\t'Its predecessor, for old runtimes'"
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inject" -l profile -d 'Profile by name; may stand several times' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inject" -l profile-file -d 'Profile by file; may stand several times' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inject" -l config -d 'Policy instead of /etc/oci-ipc-hook/config.toml' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inject" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inject" -l memory -d 'A memory limit for formulas, besides those that are found' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand inject" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand wrap" -l runtime -d 'The real runtime, by its whole path; default: runc or crun in the usual places' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand wrap" -l profile -d 'Profile by name; may stand several times' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand wrap" -l profile-file -d 'Profile by file; may stand several times' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand wrap" -l config -d 'Policy instead of /etc/oci-ipc-hook/config.toml' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand wrap" -l profiles-dir -d 'Profiles instead of the installed ones' -r -F
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand wrap" -l memory -d 'A memory limit for formulas, besides those that are found' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand wrap" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand print-config" -l profile -d 'Podman, CRI-O: an argument of the hook; docker: one more runtime for this profile; may stand several times' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand print-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand demo" -l runtime -d 'Use a real container of this runtime (runc, crun, youki)' -r
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand demo" -s h -l help -d 'Print help'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "hook" -d 'Prepare the container whose OCI state is on standard input'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "cleanup" -d 'Remove what the hook left for a container that has stopped'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "plan" -d 'Show what would be done, change nothing'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "apply" -d 'Prepare a namespace that exists'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "inspect" -d 'Show limits, use and objects of a namespace'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "check" -d 'Check policy, profiles and hooks.d files'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "doctor" -d 'Find out whether containers here would be prepared, and why not'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "profiles" -d 'List profiles, or show one with its numbers'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "inject" -d 'Add the hook to a config.json'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "wrap" -d 'Be a runtime that adds the hook: for Docker and containerd'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "print-config" -d 'Print what an engine\'s configuration needs, from this installation'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "demo" -d 'The whole job in a namespace of its own, shown step by step'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and not __fish_seen_subcommand_from hook cleanup plan apply inspect check doctor profiles inject wrap print-config demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and __fish_seen_subcommand_from profiles" -f -a "list" -d 'Name and description of every profile'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and __fish_seen_subcommand_from profiles" -f -a "show" -d 'One profile with its numbers'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and __fish_seen_subcommand_from profiles" -f -a "import" -d 'Make a profile of sysctl.conf files; "-" is standard input'
complete -c oci-ipc-hook -n "__fish_oci_ipc_hook_using_subcommand help; and __fish_seen_subcommand_from profiles" -f -a "export" -d 'Print a profile\'s sysctls as an engine\'s own flags or fields'
