/* An instance for tests. Listens on $PORT, or on $COHOST_SOCKET, and answers every request on a connection of its own.
 *
 *   --ignore-term      does not end on SIGTERM
 *   --child FIFO       has a child that holds FIFO open, and ignores SIGTERM, too
 *   --orphan FIFO      has a descendant in a session of its own, without parent, that holds FIFO open
 *   --unhealthy N      answers the first N requests with 503
 *   --wrong-port       listens on another port
 *   --notify           says READY=1 once it listens
 *   --never-notify     says only STATUS=thinking
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void hold(const char *fifo) {
  int descriptor = open(fifo, O_WRONLY);
  signal(SIGTERM, SIG_IGN);
  dprintf(descriptor, "%d\n", (int)getpid());
  for (;;) pause();
}

static void orphan(const char *fifo) {
  if (fork() == 0) {
    setsid();
    if (fork() == 0) hold(fifo);
    _exit(0);
  }
}

static int bind_somewhere(int wrong_port) {
  const char *path = getenv("COHOST_SOCKET"), *port = getenv("PORT");
  if (path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (bind(listener, (struct sockaddr *)&address, sizeof address)) perror("bind"), exit(3);
    return listener;
  }
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  address.sin_port = wrong_port ? 0 : htons(atoi(port ? port : "0"));
  if (bind(listener, (struct sockaddr *)&address, sizeof address)) perror("bind"), exit(3);
  return listener;
}

static void notify(const char *text) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, getenv("NOTIFY_SOCKET"), sizeof address.sun_path - 1);
  int sender = socket(AF_UNIX, SOCK_DGRAM, 0);
  sendto(sender, text, strlen(text), 0, (struct sockaddr *)&address, sizeof address);
  close(sender);
}

static void answer(int client, int unhealthy) {
  char request[8192] = {0};
  size_t have = 0;
  while (have < sizeof request - 1 && !strstr(request, "\r\n\r\n")) {
    ssize_t count = read(client, request + have, sizeof request - 1 - have);
    if (count <= 0) break;
    have += count;
  }
  const char *token = getenv("ASPNETCORE_TOKEN");
  if (have && strstr(request, "POST /shop/iisintegration ") == request && token && strstr(request, token) &&
      strcasestr(request, "ms-aspnetcore-event: shutdown")) {
    dprintf(client, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    exit(7);
  }
  if (have) dprintf(client, "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n", unhealthy ? 503 : 200);
  close(client);
}

int main(int count, char **words) {
  int wrong_port = 0, unhealthy = 0;
  const char *says = NULL;
  for (int i = 1; i < count; i++) {
    if (!strcmp(words[i], "--ignore-term")) signal(SIGTERM, SIG_IGN);
    if (!strcmp(words[i], "--child") && fork() == 0) hold(words[i + 1]);
    if (!strcmp(words[i], "--orphan")) orphan(words[i + 1]);
    if (!strcmp(words[i], "--unhealthy")) unhealthy = atoi(words[i + 1]);
    if (!strcmp(words[i], "--wrong-port")) wrong_port = 1;
    if (!strcmp(words[i], "--notify")) says = "STATUS=nearly\nREADY=1\n";
    if (!strcmp(words[i], "--never-notify")) says = "STATUS=thinking\n";
  }
  int listener = bind_somewhere(wrong_port);
  listen(listener, 64);
  printf("listening\n");
  fflush(stdout);
  if (says) notify(says);
  for (;;) {
    int client = accept(listener, NULL, NULL);
    answer(client, unhealthy > 0);
    /* A connection that asks nothing is a look whether anybody is here. */
    if (unhealthy > 0) unhealthy--;
  }
}
