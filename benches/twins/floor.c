/*
 * The floor: the duties of one hook run with every value hard-coded, as few system calls as the duties allow, no
 * parsing beyond three keys of the state, no undo, no error text.
 *
 * usage: floor PROFILE SYSCTLS OBJECTS < state.json
 *   SYSCTLS  0 or 13
 *   OBJECTS  a number of objects (every third a segment, a semaphore set, a message queue), or "std": one of each
 *            kind and a POSIX queue
 *
 * Exit: 0 done, otherwise the source line that failed modulo 256.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define PIDFD_GET_IPC_NAMESPACE 0xff02
#define INIT_IPC_INO 0xEFFFFFFFu

#define MUST(cond) do { if (!(cond)) _exit(__LINE__ % 255 + 1); } while (0)

struct limit { const char *dir, *name, *want; };

static const struct limit limits[] = {
	{ "k", "msgmax", "65536" },
	{ "k", "msgmnb", "131072" },
	{ "k", "msgmni", "2048" },
	{ "k", "sem", "250 256000 100 2048" },
	{ "k", "shmall", "4194304" },
	{ "k", "shmmax", "17179869184" },
	{ "k", "shmmni", "8192" },
	{ "k", "shm_rmid_forced", "0" },
	{ "q", "msg_default", "20" },
	{ "q", "msg_max", "256" },
	{ "q", "msgsize_default", "4096" },
	{ "q", "msgsize_max", "65536" },
	{ "q", "queues_max", "512" },
};

static char state[1 << 20], config[16 << 20], profile[256 << 10];

static size_t slurp(int fd, char *buf, size_t cap)
{
	size_t len = 0;
	ssize_t got;

	while ((got = read(fd, buf + len, cap - 1 - len)) > 0)
		len += got;
	MUST(got == 0);
	buf[len] = 0;
	return len;
}

static void slurp_file(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	MUST(fd >= 0);
	MUST(slurp(fd, buf, cap) > 0);
	close(fd);
}

/* A string member of the state, copied out. */
static void member(const char *key, char *out, size_t cap)
{
	char *at = strstr(state, key), *end;

	MUST(at);
	at += strlen(key);
	end = strchr(at, '"');
	MUST(end && (size_t)(end - at) < cap);
	memcpy(out, at, end - at);
	out[end - at] = 0;
}

struct cap_header { uint32_t version; int pid; };
struct cap_data { uint32_t effective, permitted, inheritable; };

/* Keeps `keep` of the low 32 capabilities: what the run needs and has. */
static void keep_caps(uint32_t keep)
{
	struct cap_header header = { 0x20080522, 0 };
	struct cap_data data[2] = { { keep, keep, 0 }, { 0, 0, 0 } };

	MUST(syscall(SYS_capset, &header, data) == 0);
}

/* SYS_ADMIN, SYS_PTRACE, SETUID, SETGID, SETPCAP, IPC_OWNER, IPC_LOCK, CHOWN, FOWNER, DAC_OVERRIDE */
#define CAPS_BEFORE (1u << 21 | 1u << 19 | 1u << 7 | 1u << 6 | 1u << 8 | 1u << 15 | 1u << 14 | 1u << 0 | 1u << 3 | 1u << 1)
#define CAPS_AFTER (1u << 7 | 1u << 6 | 1u << 15)

/* Joins the namespace of `pid` under its lock, after making sure that it is not ours and not the initial one. */
static void join(int pid)
{
	struct stat target, own;
	int pidfd, ns;

	MUST(pid > 1);
	pidfd = syscall(SYS_pidfd_open, pid, 0);
	MUST(pidfd >= 0);
	ns = ioctl(pidfd, PIDFD_GET_IPC_NAMESPACE, 0);
	if (ns < 0) {
		char path[32] = "/proc/", digits[12];
		int n = 0, at = 6;

		for (int rest = pid; rest; rest /= 10)
			digits[n++] = '0' + rest % 10;
		while (n)
			path[at++] = digits[--n];
		strcpy(path + at, "/ns/ipc");
		ns = open(path, O_RDONLY | O_CLOEXEC);
	}
	MUST(ns >= 0);
	MUST(fstat(ns, &target) == 0 && stat("/proc/thread-self/ns/ipc", &own) == 0);
	MUST(target.st_ino != INIT_IPC_INO);
	MUST(target.st_ino != own.st_ino || target.st_dev != own.st_dev);
	MUST(flock(ns, LOCK_EX | LOCK_NB) == 0 || flock(ns, LOCK_EX) == 0);
	keep_caps(CAPS_BEFORE);
	MUST(setns(ns, CLONE_NEWIPC) == 0);
	keep_caps(CAPS_AFTER);
}

/* Up to four numbers equal, whatever stands between them. */
static int same(const char *a, const char *b)
{
	char *next_a, *next_b;

	for (int i = 0; i < 4; i++) {
		unsigned long x = strtoul(a, &next_a, 10), y = strtoul(b, &next_b, 10);

		if (x != y || (next_a == a) != (next_b == b))
			return 0;
		a = next_a;
		b = next_b;
	}
	return 1;
}

static void set_limits(void)
{
	int kernel = open("/proc/sys/kernel", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int mqueue = open("/proc/sys/fs/mqueue", O_PATH | O_DIRECTORY | O_CLOEXEC);

	MUST(kernel >= 0 && mqueue >= 0);
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		const struct limit *l = &limits[i];
		char found[128];
		ssize_t got, len = strlen(l->want);
		int fd = openat(*l->dir == 'k' ? kernel : mqueue, l->name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

		MUST(fd >= 0);
		MUST((got = pread(fd, found, sizeof found - 1, 0)) > 0);
		found[got] = 0;
		if (same(found, l->want))
			continue;
		MUST(pwrite(fd, l->want, len, 0) == len);
		MUST((got = pread(fd, found, sizeof found - 1, 0)) > 0);
		found[got] = 0;
		MUST(same(found, l->want));
	}
}

static void make_sem(key_t key)
{
	struct sembuf mark = { 0, 0, IPC_NOWAIT };
	struct semid_ds ds;
	int id = semget(key, 1, IPC_CREAT | IPC_EXCL | 0600);

	MUST(id >= 0);
	MUST(semop(id, &mark, 1) == 0);
	MUST(semctl(id, 0, IPC_STAT, &ds) == 0);
	MUST(ds.sem_nsems == 1 && ds.sem_otime && ds.sem_perm.uid == 0);
}

static void make_msg(key_t key)
{
	struct msqid_ds ds;
	int id = msgget(key, IPC_CREAT | IPC_EXCL | 0600);

	MUST(id >= 0);
	MUST(msgctl(id, IPC_STAT, &ds) == 0);
	MUST(ds.msg_qbytes && ds.msg_perm.uid == 0);
}

static void make_shm(key_t key, size_t size)
{
	struct shmid_ds ds;
	int id = shmget(key, size, IPC_CREAT | IPC_EXCL | 0600);

	MUST(id >= 0);
	MUST(shmctl(id, IPC_STAT, &ds) == 0);
	MUST(ds.shm_segsz == size && ds.shm_perm.uid == 0);
}

static void make_standard(void)
{
	unsigned short values[3] = { 1, 0, 5 };
	struct sembuf mark[2] = { { 0, -1, IPC_NOWAIT }, { 0, 1, IPC_NOWAIT } };
	struct mq_attr attr = { .mq_maxmsg = 8, .mq_msgsize = 128 }, found;
	struct semid_ds sem;
	struct stat st;
	int id;
	mqd_t queue;

	make_shm(0x4d510001, 1 << 20);
	id = semget(0x5101, 3, IPC_CREAT | IPC_EXCL | 0600);
	MUST(id >= 0);
	MUST(semctl(id, 0, SETALL, values) == 0);
	MUST(semop(id, mark, 2) == 0);
	MUST(semctl(id, 0, IPC_STAT, &sem) == 0 && sem.sem_nsems == 3 && sem.sem_otime);
	make_msg(0x77);
	umask(0);
	queue = mq_open("/orders", O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
	MUST(queue >= 0);
	MUST(mq_getattr(queue, &found) == 0 && found.mq_maxmsg == 8 && found.mq_msgsize == 128);
	MUST(fstat(queue, &st) == 0 && (st.st_mode & 0777) == 0600 && st.st_uid == 0);
}

static void make_many(int count)
{
	for (int i = 3; i <= count; i += 3)
		make_shm(i, 1);
	for (int i = 1; i <= count; i += 3)
		make_sem(i);
	for (int i = 2; i <= count; i += 3)
		make_msg(i);
}

static void log_line(const char *id)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
	char line[512] = "PRIORITY=6\nSYSLOG_IDENTIFIER=oci-ipc-hook\nMESSAGE=prepared ";
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	MUST(fd >= 0);
	strcat(line, id);
	strcat(line, "\n");
	MUST(sendto(fd, line, strlen(line), MSG_NOSIGNAL, (struct sockaddr *)&to, sizeof to) > 0);
}

int main(int argc, char **argv)
{
	char bundle[4096], id[256], *at;

	MUST(argc == 4);
	MUST(slurp(0, state, sizeof state) > 0);
	at = strstr(state, "\"pid\":");
	MUST(at);
	member("\"id\":\"", id, sizeof id);
	member("\"bundle\":\"", bundle, sizeof bundle - 16);
	strcat(bundle, "/config.json");
	slurp_file(bundle, config, sizeof config);
	slurp_file(argv[1], profile, sizeof profile);
	join(atoi(at + 6));
	if (atoi(argv[2]))
		set_limits();
	if (strcmp(argv[3], "std") == 0)
		make_standard();
	else
		make_many(atoi(argv[3]));
	log_line(id);
	return 0;
}
