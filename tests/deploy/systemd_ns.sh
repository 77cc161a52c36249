#!/usr/bin/env bash
# Boots a real systemd as PID 1 of namespaces of its own, over an overlay of $LOWER, by default /,
# that vanishes with it.
#   systemd_ns.sh DIR [SOURCE:TARGET]...   shows directory SOURCE inside as TARGET, read-only
# Stays in the foreground; whoever kills it kills everything inside. Needs root. It lists in
# DIR/cgroups the control groups that it made: they are the caller's to remove.
set -euo pipefail

# "MOUNTPOINT TYPE OPTIONS PATH" of every control group hierarchy that this process is in.
hierarchies() {
  local unified=/sys/fs/cgroup
  [[ -d /sys/fs/cgroup/unified ]] && unified=/sys/fs/cgroup/unified
  while IFS=: read -r _ names path; do
    case $names in
      "") echo "$unified cgroup2 nosuid $path" ;;
      name=*) echo "/sys/fs/cgroup/${names#name=} cgroup none,$names $path" ;;
      *) echo "/sys/fs/cgroup/$names cgroup $names $path" ;;
    esac
  done </proc/self/cgroup
}

join_cgroups() {
  hierarchies | while read -r mountpoint _ _ path; do
    [[ -d $mountpoint ]] || continue
    local group=$mountpoint${path%/}/systemd-ns-$$
    mkdir "$group"
    echo "$group" >>"$1/cgroups"
    local file
    for file in cpuset.cpus cpuset.mems; do # empty in a new v1 group, which then takes nobody
      [[ $mountpoint == */cpuset ]] && cat "${group%/*}/$file" >"$group/$file"
    done
    echo $$ >"$group/cgroup.procs"
  done
}

mount_root() {
  local root=$1/root name mountpoint type options
  mount -t tmpfs -o mode=0755 overlay "$1/overlay"
  mkdir "$1/overlay/upper" "$1/overlay/work"
  mount -t overlay -o "lowerdir=${LOWER:-/},upperdir=$1/overlay/upper,workdir=$1/overlay/work" overlay "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t tmpfs -o mode=0755 tmpfs "$root/sys/fs/cgroup"
  # The unified hierarchy last: alone, it lies over the tmpfs.
  hierarchies | sort -k2 | while read -r mountpoint type options _; do
    [[ -d $mountpoint ]] || continue
    mkdir -p "$root$mountpoint"
    mount -t "$type" -o "$options" cgroup "$root$mountpoint"
  done
  mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
  for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
  done
  mkdir "$root/dev/shm" "$root/dev/pts" # without these and ptmx PrivateDevices= fails
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  ln -s /proc/self/fd "$root/dev/fd"
  mount -t tmpfs -o mode=0755 tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
}

show() {
  mkdir -p "$2"
  mount --bind "$1" "$2"
  mount -o remount,bind,ro "$2"
}

# A target of its own, so that nothing else of the host is started.
write_target() {
  mkdir -p "$1/run/systemd/system"
  cat >"$1/run/systemd/system/test.target" <<'UNIT'
[Unit]
Requires=basic.target
After=basic.target
UNIT
  local unit
  for unit in {dev-hugepages,dev-mqueue,sys-kernel-{config,debug,tracing},sys-fs-fuse-connections}.mount \
    systemd-{timesyncd,resolved,networkd,logind,firstboot,update-utmp,remount-fs}.service; do
    ln -sf /dev/null "$1/run/systemd/system/$unit"
  done
}

boot() {
  local root=$1/root shown
  mount_root "$1"
  for shown in "${@:2}"; do
    show "${shown%%:*}" "$root${shown#*:}"
  done
  write_target "$root"
  cd "$root"
  pivot_root . mnt
  umount --lazy /mnt
  # systemd in a container leaves this out, and LoadCredential= would give an empty directory.
  mount --make-rshared /
  exec env -i container=systemd-ns PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=linux \
    /lib/systemd/systemd --system --show-status=no systemd.unit=test.target
}

if [[ $1 == --inside ]]; then
  boot "${@:2}"
fi
mkdir "$1/overlay" "$1/root"
join_cgroups "$1"
exec setpriv --pdeathsig KILL \
  unshare --mount --uts --ipc --pid --net --cgroup --fork --kill-child=SIGKILL --propagation private \
  bash "$0" --inside "$@" </dev/null
