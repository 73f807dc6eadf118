// The same hook in Go, as small as its standard library lets it be: state, config.json and the profile (as JSON: there
// is no TOML in the standard library) are parsed, the namespace is checked, locked and joined, sysctls and objects are
// read, written and read back, one datagram is logged. No undo, no policy.
//
// usage: hook PROFILE.json < state.json
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

type state struct {
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Annotations map[string]string `json:"annotations"`
}

type spec struct {
	Process struct {
		User struct {
			UID int `json:"uid"`
			GID int `json:"gid"`
		} `json:"user"`
		SelinuxLabel string `json:"selinuxLabel"`
	} `json:"process"`
	Linux struct {
		Sysctl     map[string]string `json:"sysctl"`
		Namespaces []struct {
			Type string `json:"type"`
			Path string `json:"path"`
		} `json:"namespaces"`
	} `json:"linux"`
}

type object struct {
	Key         int      `json:"key"`
	Size        uint64   `json:"size"`
	Nsems       int      `json:"nsems"`
	Values      []uint16 `json:"values"`
	Name        string   `json:"name"`
	MaxMessages int64    `json:"max-messages"`
	MessageSize int64    `json:"message-size"`
}

type profile struct {
	Sysctl map[string]string `json:"sysctl"`
	Shm    []object          `json:"shm"`
	Sem    []object          `json:"sem"`
	Msg    []object          `json:"msg"`
	Mqueue []object          `json:"mqueue"`
}

const (
	sysPidfdOpen = 434
	cloneNewIPC  = 0x08000000
	excl         = 03000 // IPC_CREAT | IPC_EXCL
	ipcStat      = 2
	setAll       = 17
	initIPC      = 0xEFFFFFFF
)

func die(what string, err error) {
	fmt.Fprintf(os.Stderr, "hook: %s: %v\n", what, err)
	os.Exit(1)
}

func must(what string, err error) {
	if err != nil {
		die(what, err)
	}
}

func call(what string, number, a, b, c, d uintptr) uintptr {
	got, _, errno := syscall.RawSyscall6(number, a, b, c, d, 0, 0)
	if errno != 0 {
		die(what, errno)
	}
	return got
}

func parseFile(path string, into interface{}) {
	text, err := os.ReadFile(path)
	must(path, err)
	must(path, json.Unmarshal(text, into))
}

type capHeader struct {
	version uint32
	pid     int32
}

type capData struct{ effective, permitted, inheritable uint32 }

func keepCaps(keep uint32) {
	header := capHeader{version: 0x20080522}
	data := [2]capData{{keep, keep, 0}}
	call("capset", syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data)), 0, 0)
}

func join(pid int) {
	if pid <= 1 {
		die("state", fmt.Errorf("pid %d", pid))
	}
	call("pidfd_open", sysPidfdOpen, uintptr(pid), 0, 0, 0)
	ns, err := syscall.Open("/proc/"+strconv.Itoa(pid)+"/ns/ipc", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	must("namespace", err)
	var target, own syscall.Stat_t
	must("namespace", syscall.Fstat(ns, &target))
	must("own namespace", syscall.Stat("/proc/thread-self/ns/ipc", &own))
	if target.Ino == own.Ino || target.Ino == initIPC {
		die("namespace", fmt.Errorf("the host's"))
	}
	must("flock", syscall.Flock(ns, syscall.LOCK_EX))
	keepCaps(1<<21 | 1<<19 | 1<<7 | 1<<6 | 1<<8 | 1<<15 | 1<<14 | 1<<0 | 1<<3 | 1<<1)
	call("setns", 308, uintptr(ns), cloneNewIPC, 0, 0)
	keepCaps(1<<7 | 1<<6 | 1<<15)
}

func same(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		m, err := strconv.ParseUint(x[i], 10, 64)
		must("number", err)
		n, err := strconv.ParseUint(y[i], 10, 64)
		must("number", err)
		if m != n {
			return false
		}
	}
	return true
}

func setLimit(name, want string) {
	path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
	must(name, err)
	defer syscall.Close(fd)
	found := make([]byte, 128)
	read := func() string {
		n, err := syscall.Pread(fd, found, 0)
		must(name, err)
		return string(found[:n])
	}
	if same(read(), want) {
		return
	}
	_, err = syscall.Pwrite(fd, []byte(want), 0)
	must(name, err)
	if !same(read(), want) {
		die(name, fmt.Errorf("not taken"))
	}
}

func stat(what string, number, id uintptr) {
	var ds [128]byte
	if number == syscall.SYS_SEMCTL {
		call(what, number, id, 0, ipcStat, uintptr(unsafe.Pointer(&ds)))
	} else {
		call(what, number, id, ipcStat, uintptr(unsafe.Pointer(&ds)), 0)
	}
}

func makeSem(o object) {
	count := o.Nsems
	if count == 0 {
		count = len(o.Values)
	}
	id := call("semget", syscall.SYS_SEMGET, uintptr(o.Key), uintptr(count), excl|0600, 0)
	ops := [2][3]int16{{0, 0, 04000}}
	used := uintptr(1)
	if len(o.Values) > 0 {
		call("semctl", syscall.SYS_SEMCTL, id, 0, setAll, uintptr(unsafe.Pointer(&o.Values[0])))
		if o.Values[0] > 0 {
			ops = [2][3]int16{{0, -1, 04000}, {0, 1, 04000}}
			used = 2
		}
	}
	call("semop", syscall.SYS_SEMOP, id, uintptr(unsafe.Pointer(&ops)), used, 0)
	stat("semctl", syscall.SYS_SEMCTL, id)
}

func makeQueue(o object) {
	name := append([]byte(o.Name[1:]), 0)
	attr := [8]int64{0, o.MaxMessages, o.MessageSize}
	fd := call("mq_open", syscall.SYS_MQ_OPEN, uintptr(unsafe.Pointer(&name[0])),
		syscall.O_CREAT|syscall.O_EXCL|syscall.O_RDWR|syscall.O_CLOEXEC, 0600, uintptr(unsafe.Pointer(&attr)))
	var found [8]int64
	call("mq_getattr", syscall.SYS_MQ_GETSETATTR, fd, 0, uintptr(unsafe.Pointer(&found)), 0)
	var st syscall.Stat_t
	must("mqueue", syscall.Fstat(int(fd), &st))
	if found[1] != o.MaxMessages || found[2] != o.MessageSize || st.Mode&0777 != 0600 {
		die("mqueue", fmt.Errorf("not as wanted"))
	}
}

func main() {
	runtime.LockOSThread()
	text, err := io.ReadAll(os.Stdin)
	must("state", err)
	var s state
	must("state", json.Unmarshal(text, &s))
	var c spec
	parseFile(s.Bundle+"/config.json", &c)
	var p profile
	parseFile(os.Args[1], &p)
	join(s.Pid)
	for name, want := range p.Sysctl {
		setLimit(name, want)
	}
	for _, o := range p.Shm {
		id := call("shmget", syscall.SYS_SHMGET, uintptr(o.Key), uintptr(o.Size), excl|0600, 0)
		stat("shmctl", syscall.SYS_SHMCTL, id)
	}
	for _, o := range p.Sem {
		makeSem(o)
	}
	for _, o := range p.Msg {
		id := call("msgget", syscall.SYS_MSGGET, uintptr(o.Key), excl|0600, 0, 0)
		stat("msgctl", syscall.SYS_MSGCTL, id)
	}
	syscall.Umask(0)
	for _, o := range p.Mqueue {
		makeQueue(o)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	must("socket", err)
	line := "PRIORITY=6\nSYSLOG_IDENTIFIER=oci-ipc-hook\nMESSAGE=prepared " + s.ID + "\n"
	must("log", syscall.Sendto(fd, []byte(line), 0, &syscall.SockaddrUnix{Name: "/run/systemd/journal/socket"}))
}
