/* A program that misbehaves as it is asked to. Listens on $PORT and answers every request on a connection of its own.
 *
 *   --ignore-term     does not end on SIGTERM, and neither do its children
 *   --elsewhere       listens on another port
 *   --silent          never listens
 *   --die             ends with 0 right after it has begun to listen and somebody has connected
 *   GET /segfault, /abort, /exit, /memory    ends by that
 *   GET /child        has a child, and answers its number
 *   GET /orphan       has a descendant in a session of its own, without parent, and answers its number
 *   GET /zombies      leaves children that have ended, and answers the number of one
 *   GET /slow         says so, and answers after two seconds
 *   GET /begin        prints the first half of a line, to standard output and to standard error; GET /end the second
 *   GET /threads      has a thousand threads that never end, or as many as it is allowed to
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int child(void) {
  int pid = fork();
  if (pid == 0) for (;;) pause();
  return pid;
}

static int orphan(void) {
  int ends[2], pid = 0;
  if (pipe(ends)) exit(3);
  int between = fork();
  if (between == 0) {
    setsid();
    pid = child();
    exit(write(ends[1], &pid, sizeof pid) != sizeof pid);
  }
  if (read(ends[0], &pid, sizeof pid) != sizeof pid) exit(3);
  return pid;
}

static int zombies(void) {
  int pid = 0;
  for (int i = 0; i < 50; i++) {
    pid = fork();
    if (pid == 0) _exit(0);
  }
  return pid;
}

static void *sleep_for_ever(void *nothing) {
  for (;;) pause();
  return nothing;
}

static int threads(void) {
  int count = 0;
  pthread_t thread;
  while (count < 1000 && !pthread_create(&thread, NULL, sleep_for_ever, NULL)) count++;
  return count;
}

static void memory(void) {
  for (;;) {
    char *piece = malloc(1 << 20);
    if (!piece) abort();
    memset(piece, 1, 1 << 20);
  }
}

static int misbehave(const char *request) {
  if (!strncmp(request, "GET /segfault", 13)) raise(SIGSEGV);
  if (!strncmp(request, "GET /abort", 10)) abort();
  if (!strncmp(request, "GET /exit", 9)) exit(0);
  if (!strncmp(request, "GET /memory", 11)) memory();
  if (!strncmp(request, "GET /slow", 9)) printf("slow\n"), fflush(stdout), sleep(2);
  if (!strncmp(request, "GET /begin", 10)) printf("out: begun"), fflush(stdout), fprintf(stderr, "err: begun");
  if (!strncmp(request, "GET /end", 8)) printf(", ended\n"), fflush(stdout), fprintf(stderr, ", ended\n");
  if (!strncmp(request, "GET /child", 10)) return child();
  if (!strncmp(request, "GET /orphan", 11)) return orphan();
  if (!strncmp(request, "GET /zombies", 12)) return zombies();
  if (!strncmp(request, "GET /threads", 12)) return threads();
  return getpid();
}

static void answer(int client) {
  char request[8192] = {0};
  size_t have = 0;
  while (have < sizeof request - 1 && !strstr(request, "\r\n\r\n")) {
    ssize_t count = read(client, request + have, sizeof request - 1 - have);
    if (count <= 0) break;
    have += count;
  }
  if (have) {
    char body[16];
    int length = snprintf(body, sizeof body, "%d", misbehave(request));
    dprintf(client, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", length, body);
  }
  close(client);
}

static int has(int count, char **words, const char *option) {
  for (int i = 1; i < count; i++) if (!strcmp(words[i], option)) return 1;
  return 0;
}

int main(int count, char **words) {
  if (has(count, words, "--ignore-term")) signal(SIGTERM, SIG_IGN);
  if (has(count, words, "--silent")) for (;;) pause();
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  address.sin_port = has(count, words, "--elsewhere") ? 0 : htons(atoi(getenv("PORT")));
  if (bind(listener, (struct sockaddr *)&address, sizeof address)) perror("bind"), exit(3);
  listen(listener, 64);
  for (;;) {
    int client = accept(listener, NULL, NULL);
    if (has(count, words, "--die")) return 0;
    answer(client);
  }
}
