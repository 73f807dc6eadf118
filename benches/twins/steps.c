/*
 * Runs a program one instruction at a time and prints, in the order of their first execution, the addresses within the
 * program that it came by.
 *
 * usage: steps FILE COMMAND…      FILE: one address a line, in hexadecimal, counted from the program's first byte
 *
 * Exit: that of the program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the program `path` is mapped in process `pid`. */
static int find(pid_t pid, const char *path, unsigned long *from, unsigned long *to)
{
	char name[64], line[4400];
	unsigned long a, b;
	FILE *maps;

	snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
	maps = fopen(name, "r");
	*from = 0;
	while (maps && fgets(line, sizeof line, maps)) {
		char *file = strchr(line, '/');

		if (!file || sscanf(line, "%lx-%lx", &a, &b) != 2)
			continue;
		file[strcspn(file, "\n")] = 0;
		if (strcmp(strrchr(file, '/'), strrchr(path, '/')) != 0)
			continue;
		if (!*from)
			*from = a;
		*to = b;
	}
	if (maps)
		fclose(maps);
	return *from != 0;
}

int main(int argc, char **argv)
{
	unsigned long from, to;
	unsigned char *seen;
	int status;
	FILE *out;
	pid_t pid;

	if (argc < 3 || argv[2][0] != '/' || !(out = fopen(argv[1], "w")))
		return 2;
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) || !find(pid, argv[2], &from, &to))
		return 2;
	seen = calloc(to - from, 1);
	while (seen && WIFSTOPPED(status)) {
		struct user_regs_struct registers;
		unsigned long at;

		if (ptrace(PTRACE_GETREGS, pid, 0, &registers))
			return 2;
		at = registers.rip - from;
		if (at < to - from && !seen[at]) {
			seen[at] = 1;
			fprintf(out, "%lx\n", at);
		}
		ptrace(PTRACE_SINGLESTEP, pid, 0, 0);
		if (waitpid(pid, &status, 0) != pid)
			return 2;
	}
	fclose(out);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
