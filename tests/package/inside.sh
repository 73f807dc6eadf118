# The part of tests/run/package that sees layers over /usr, /etc and /var. Takes $scratch, $cgroup, $deb and $source.

mount -t tmpfs tmpfs /mnt
for directory in usr etc var; do
    mkdir "/mnt/$directory" "/mnt/$directory.work"
    mount -t overlay overlay -o "lowerdir=/$directory,upperdir=/mnt/$directory,workdir=/mnt/$directory.work" "/$directory"
done
mount -t tmpfs -o mode=755 tmpfs /run
# What an earlier 'make install' on this machine may have left.
rm -rf /usr/share/oci-ipc-hook /etc/oci-ipc-hook /usr/share/doc/oci-ipc-hook
rm -f /usr/share/containers/oci/hooks.d/* /usr/libexec/oci/hooks.d/oci-ipc-hook /usr/bin/oci-ipc-*
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
out=$scratch/out passed=0 failed=0

# check WHAT COMMAND...: counts, and shows the output of a command that fails. Not as a condition: that would switch the
# shell's -e off in the whole command.
check() {
    what=$1; shift
    set +e
    (set -e; "$@") >"$out" 2>&1
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        echo "ok: $what"
        passed=$((passed + 1))
    else
        echo "FAILED: $what (status $status)"
        sed 's/^/    /' "$out"
        failed=$((failed + 1))
    fi
}

# All that a package may touch; dpkg's own books, and caches, aside.
everything() {
    find /usr /etc /var -xdev \( -path /var/lib/dpkg -o -path /var/cache -o -path /var/log \) -prune -o \
        -printf '%M %u:%g %p %l\n' | sort
}

# Files and links of make install as they are below a directory, one line each: name, mode, owner, sum of the content. A
# package has its manual pages compressed.
listed() {
    (cd "$1" && while read -r file; do
        if [ -L "$file" ]; then
            echo "$file -> $(readlink "$file")"
        elif [ -e "$file.gz" ]; then
            echo "$file $(stat -c '%a %u:%g' "$file.gz") $(zcat "$file.gz" | sha256sum)"
        else
            echo "$file $(stat -c '%a %u:%g' "$file") $(sha256sum <"$file")"
        fi
    done <"$scratch/files")
}

same_files() {
    (cd "$scratch/tree" && find . -type f -o -type l) | sort >"$scratch/files"
    listed "$scratch/tree" >"$scratch/wanted"
    listed / >"$scratch/found"
    diff "$scratch/wanted" "$scratch/found"
    # And no others; the licence in Debian's form is the package's own.
    dpkg -L oci-ipc-hook | while read -r file; do [ -d "$file" ] && [ ! -L "$file" ] || echo ".${file%.gz}"; done |
        grep -vx ./usr/share/doc/oci-ipc-hook/copyright | sort >"$scratch/packaged"
    diff "$scratch/files" "$scratch/packaged"
}

checked() {
    oci-ipc-hook check
    oci-ipc-hook profiles show mqueue-app
    for engine in podman crio; do
        oci-ipc-hook print-config $engine | cmp - /usr/share/containers/oci/hooks.d/50-oci-ipc-hook.json
    done
    man -w 8 oci-ipc-hook
    man -w 5 oci-ipc-hook-profile
}

# Containers of podman, in a storage of their own; of hooks only those that are installed.
export CONTAINERS_CONF="$scratch/containers.conf" CONTAINERS_STORAGE_CONF="$scratch/storage.conf"
printf '%s\n' '[containers]' 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]' 'log_driver = "k8s-file"' \
    'netns = "none"' '[engine]' 'runtime = "runc"' 'cgroup_manager = "cgroupfs"' 'events_logger = "file"' >"$CONTAINERS_CONF"
printf '%s\n' '[storage]' 'driver = "vfs"' "graphroot = \"$scratch/storage\"" 'runroot = "/run/storage"' >"$CONTAINERS_STORAGE_CONF"

import() {
    mkdir -p "$scratch/rootfs/bin"
    cp "$(command -v busybox)" "$scratch/rootfs/bin/busybox"
    tar -C "$scratch/rootfs" -c . | podman import - localhost/package-test
}

# What a container sees: limits, System V objects, queues.
look='
    /bin/busybox cat /proc/sys/fs/mqueue/msg_max /proc/sys/kernel/msgmax /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg
    /bin/busybox ls -ln /dev/mqueue'

seen() {
    podman run --rm --cgroup-parent "/$cgroup" "$@" localhost/package-test /bin/busybox sh -c "$look"
}

# Its client, away from the user's settings; podman would heed a variable too.
docker() {
    command docker --config "$scratch/docker-client" "$@"
}

seen_by_docker() {
    docker run --rm --network none "$@" package-test /bin/busybox sh -c "$look"
}

# One of the administrator's, with all kinds of objects.
profile() {
    mkdir -p /etc/oci-ipc-hook/profiles.d
    cp "$source/src/commands/demo/profile.toml" /etc/oci-ipc-hook/profiles.d/demo.toml
}

# prepared COMMAND...: what the container sees is what the profile asks for.
prepared() {
    "$@" >"$scratch/seen"
    cat "$scratch/seen"
    grep -qx 65536 "$scratch/seen"
    grep -q '^ *1297154049 .* 16777216 ' "$scratch/seen"
    grep -q '^ *20737 ' "$scratch/seen"
    grep -q '^ *119 ' "$scratch/seen"
    grep -q '^-rw.* orders$' "$scratch/seen"
}

# untouched COMMAND...: what it sees is what the kernel gives.
untouched() {
    "$@" >"$scratch/seen"
    cat "$scratch/seen"
    [ "$(grep -c '^ *[0-9]' "$scratch/seen")" = 2 ]
    [ "$(head -n 2 "$scratch/seen" | tr '\n' ' ')" = "10 8192 " ]
    ! grep -q '^-' "$scratch/seen"
}

refused() {
    if seen --annotation io.oci-ipc-hook.profile=none-such 2>"$scratch/said"; then return 1; fi
    cat "$scratch/said"
    grep -q 'oci-ipc-hook: .*none-such' "$scratch/said"
}

# Docker's daemon with the very text that the installation prints for it.
daemon() {
    oci-ipc-hook print-config docker --profile demo --profile none-such >"$scratch/daemon.json"
    docker_dir=$scratch/docker
    mkdir "$docker_dir"
    dockerd --config-file "$scratch/daemon.json" --data-root "$docker_dir/data" --exec-root "$docker_dir/run" \
        --pidfile "$docker_dir/pid" --host "$DOCKER_HOST" --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs \
        --cgroup-parent "/$cgroup" --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
        --userland-proxy=false >"$scratch/dockerd.log" 2>&1 &
    until docker version >/dev/null 2>&1; do
        kill -0 $! || { cat "$scratch/dockerd.log"; return 1; }
    done
    tar -C "$scratch/rootfs" -c . | docker import - package-test
}

refused_by_docker() {
    if seen_by_docker --runtime ipc-none-such 2>"$scratch/said"; then return 1; fi
    cat "$scratch/said"
    grep -q 'oci-ipc-hook: .*none-such' "$scratch/said"
}

stopped() {
    pid=$(cat "$scratch/docker/pid")
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do :; done
    # The daemon's own.
    rm -f /etc/docker/key.json
}

gone() {
    everything >"$scratch/after"
    diff "$scratch/nothing" "$scratch/after"
    [ ! -e /usr/share/containers/oci/hooks.d/50-oci-ipc-hook.json ]
    [ -z "$(dpkg -L oci-ipc-hook 2>/dev/null)" ]
}

export DOCKER_HOST="unix://$scratch/docker.socket"
mkdir -p /etc/docker && rm -f /etc/docker/*
everything >"$scratch/nothing"
check "dpkg installs it" dpkg -i "$deb"
check "the files are those of make install, where it puts them" same_files
check "the installation finds itself in order" checked
check "an image" import
check "a profile of the administrator's" profile
check "a container with an annotation is prepared" prepared seen --annotation io.oci-ipc-hook.profile=demo
check "one without is untouched" untouched seen
check "a profile that is not there fails the start, by name" refused
check "Docker takes what print-config prints" daemon
check "docker run --runtime ipc-demo: prepared" prepared seen_by_docker --runtime ipc-demo
check "docker run --runtime ipc, nothing asked: untouched" untouched seen_by_docker --runtime ipc
check "docker run: untouched" untouched seen_by_docker
check "docker run: a profile that is not there fails the start, by name" refused_by_docker
check "Docker stops" stopped
rm -rf /etc/oci-ipc-hook
check "dpkg removes it" dpkg -r oci-ipc-hook
check "nothing of it is left" gone
check "a container with an annotation starts as any other" seen --annotation io.oci-ipc-hook.profile=mqueue-app

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
