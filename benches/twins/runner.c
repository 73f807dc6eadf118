/*
 * Starts contenders in turn (A B C A B C …), each in a fresh IPC namespace that a holder process stands for, as a
 * container's init would, and prints what each run cost. Small and static on purpose: a child's peak memory starts
 * with its parent's.
 *
 * usage: runner [options] -- COMMAND… [-- COMMAND…]…
 *   -d DIR     data; seen by the contenders as /run/ipcbench
 *   -s FILE    state document for stdin; @PID@ and @ID@ are filled in. Without it stdin is /dev/null and there is no
 *              holder
 *   -n N       rounds (default 100)
 *   -w N       rounds before those, not printed (default 3)
 *   -p US      pause after each run, for the kernel to take the namespace down (default 1000)
 *   -b N       at once: start N of a contender, then wait for all
 *   -S         with -b: all in one namespace
 *   -r         at real-time priority, if that is allowed: what else runs on the machine does not come in between
 *   -u PATH    unmount PATH first (in a mount namespace of our own)
 * In a COMMAND, @PID@ and @ID@ are filled in as well.
 *
 * Output, one line for each run:  run CONTENDER ROUND NANOSECONDS MINOR-FAULTS PEAK-KIB STATUS
 * and for each burst:             burst CONTENDER ROUND NANOSECONDS COUNT
 * Everything happens in a private mount namespace with an own /run, in which a journal socket is bound and drained.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONTENDERS 12
#define MAX_ARGS 32
#define MAX_BURST 400
#define PIPE_CAPACITY 65536

struct run {
	pid_t pid;
	int stdin_fd;
	long long started;
};

static char *contenders[MAX_CONTENDERS][MAX_ARGS];
static int contender_count;
static char template[PIPE_CAPACITY];
static int with_state, rounds = 100, warmup = 3, pause_us = 1000, burst, shared;
static int journal = -1;
static long serial;
static struct run runs[MAX_BURST];
static pid_t holders[MAX_BURST];

static void die(const char *what)
{
	fprintf(stderr, "runner: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Own mounts, own /run with the data and a journal socket. */
static void set_stage(const char *data, const char *unmount)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
	char here[64];
	int dir;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("private mounts (root is needed)");
	dir = open(data, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		die(data);
	if (unmount && umount2(unmount, MNT_DETACH) && errno != EINVAL && errno != ENOENT)
		die(unmount);
	if (mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"))
		die("own /run");
	snprintf(here, sizeof here, "/proc/self/fd/%d", dir);
	if (mkdir("/run/ipcbench", 0755) || mount(here, "/run/ipcbench", NULL, MS_BIND, NULL))
		die("/run/ipcbench");
	close(dir);
	mkdir("/run/systemd", 0755);
	mkdir("/run/systemd/journal", 0755);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (journal < 0 || bind(journal, (struct sockaddr *)&at, sizeof at))
		die(at.sun_path);
}

static void drain(void)
{
	static char datagram[PIPE_CAPACITY];

	while (recv(journal, datagram, sizeof datagram, 0) >= 0)
		;
}

/* A process that reads the journal socket while many hooks write to it. */
static pid_t start_reader(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		char datagram[4096];

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fcntl(journal, F_SETFL, 0);
		for (;;)
			recv(journal, datagram, sizeof datagram, 0);
	}
	return pid;
}

/* A process in a fresh IPC namespace. */
static pid_t start_holder(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) || (pid = fork()) < 0)
		die("holder");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWIPC) || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 1)
		die("fresh IPC namespace");
	close(ready[0]);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Copies `text` with @PID@ and @ID@ filled in. */
static void fill(const char *text, pid_t holder, long id, char *out, size_t cap)
{
	size_t len = 0;

	while (*text && len + 24 < cap) {
		if (strncmp(text, "@PID@", 5) == 0) {
			len += sprintf(out + len, "%d", (int)holder);
			text += 5;
		} else if (strncmp(text, "@ID@", 4) == 0) {
			len += sprintf(out + len, "bench-%ld", id);
			text += 4;
		} else {
			out[len++] = *text++;
		}
	}
	out[len] = 0;
}

/* The stdin of one run: a pipe that already holds the whole state, as large as a pipe is. */
static int state_pipe(pid_t holder, long id)
{
	static char text[PIPE_CAPACITY];
	int ends[2];
	size_t len;

	if (!with_state)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	fill(template, holder, id, text, sizeof text);
	len = strlen(text);
	if (pipe2(ends, O_CLOEXEC) || write(ends[1], text, len) != (ssize_t)len)
		die("state on a pipe");
	close(ends[1]);
	return ends[0];
}

/* Starts contender `c`; its arguments are filled in before the clock starts. */
static void start(struct run *run, int c, pid_t holder, long id)
{
	static char words[MAX_ARGS][1024];
	static char *argv[MAX_ARGS];
	static char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	int n = 0;

	for (; contenders[c][n]; n++) {
		fill(contenders[c][n], holder, id, words[n], sizeof words[n]);
		argv[n] = words[n];
	}
	argv[n] = NULL;
	run->started = now();
	run->pid = vfork();
	if (run->pid == 0) {
		dup2(run->stdin_fd, 0);
		execve(argv[0], argv, env);
		_exit(127);
	}
	if (run->pid < 0)
		die("vfork");
}

static void report(int c, int round, const struct run *run, long long ended, const struct rusage *use, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	if (round >= 0)
		printf("run %d %d %lld %ld %ld %d\n", c, round, ended - run->started, use->ru_minflt, use->ru_maxrss, code);
}

static void one(int c, int round)
{
	pid_t holder = with_state ? start_holder() : 0;
	struct rusage use;
	int status;
	long long ended;

	serial++;
	runs[0].stdin_fd = state_pipe(holder, serial);
	start(&runs[0], c, holder, serial);
	if (wait4(runs[0].pid, &status, 0, &use) < 0)
		die("wait4");
	ended = now();
	close(runs[0].stdin_fd);
	report(c, round, &runs[0], ended, &use, status);
	drain();
	if (holder)
		stop(holder);
	usleep(pause_us);
}

static void many(int c, int round)
{
	pid_t reader = start_reader();
	long long began, ended = 0;
	struct rusage use;
	int status;

	for (int i = 0; i < burst; i++) {
		holders[i] = shared && i ? holders[0] : start_holder();
		runs[i].stdin_fd = state_pipe(holders[i], serial + i);
	}
	began = now();
	for (int i = 0; i < burst; i++)
		start(&runs[i], c, holders[i], serial + i);
	for (int left = burst; left; left--) {
		pid_t pid = wait4(-1, &status, 0, &use);

		ended = now();
		for (int i = 0; i < burst; i++)
			if (runs[i].pid == pid)
				report(c, round, &runs[i], ended, &use, status);
	}
	if (round >= 0)
		printf("burst %d %d %lld %d\n", c, round, ended - began, burst);
	for (int i = 0; i < burst; i++) {
		close(runs[i].stdin_fd);
		if (!shared || i == 0)
			stop(holders[i]);
	}
	serial += burst;
	stop(reader);
	usleep(pause_us);
}

static void read_template(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, template, sizeof template - 1024);

	if (got <= 0)
		die(path);
	close(fd);
	with_state = 1;
}

int main(int argc, char **argv)
{
	const char *data = NULL, *unmount = NULL;
	int option;

	while ((option = getopt(argc, argv, "+d:s:n:w:p:b:Sru:")) != -1) {
		switch (option) {
		case 'd': data = optarg; break;
		case 's': read_template(optarg); break;
		case 'n': rounds = atoi(optarg); break;
		case 'w': warmup = atoi(optarg); break;
		case 'p': pause_us = atoi(optarg); break;
		case 'b': burst = atoi(optarg); break;
		case 'S': shared = 1; break;
		case 'r': sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 }); break;
		case 'u': unmount = optarg; break;
		default: return 2;
		}
	}
	for (int at = optind - 1, n = 0; at < argc; at++) {
		if (strcmp(argv[at], "--") == 0) {
			contender_count++;
			n = 0;
		} else if (contender_count && contender_count <= MAX_CONTENDERS && n < MAX_ARGS - 1) {
			contenders[contender_count - 1][n++] = argv[at];
		}
	}
	if (!data || contender_count < 1 || contender_count > MAX_CONTENDERS || burst > MAX_BURST)
		return 2;
	set_stage(data, unmount);
	for (int round = -warmup; round < rounds; round++)
		for (int c = 0; c < contender_count; c++)
			burst ? many(c, round) : one(c, round);
	return 0;
}
