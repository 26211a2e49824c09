/* The backend behind every measured proxy: as little work per request as a process can do.
 *
 *   light_backend MARK PORT...
 *
 * It reads just enough of HTTP/1.1 to find where a request ends, and answers with bytes made
 * beforehand. The first letters of the path choose which: /10k, /100k, /10m, /chunked; /ws becomes
 * a WebSocket that echoes; anything else gets 60 bytes, the first of which is MARK, so that a
 * client can tell two backends apart. It is a server for these measurements and for nothing else:
 * it trusts what it reads, and a chunked request body must not contain the digit 0. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HELD = 64 << 10, EVENTS = 256, SMALL_BYTES = 60, CHUNKS = 5, CHUNK_BYTES = 2048 };

static const char HEAD[] = "HTTP/1.1 200 OK\r\nServer: light\r\nContent-Type: text/plain\r\n";
static const char CLOSE[] = "Connection: close\r\n";
static const char LAST_CHUNK[] = "0\r\n\r\n";
/* The answer to the one key that the load uses, the example of RFC 6455 section 1.3. */
static const char UPGRADED[] =
   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct answer {
   const char *data;
   size_t size;
};

static struct answer small, small_last, ten_kib, hundred_kib, ten_mib, chunked;

enum state { READS_HEAD, READS_LENGTH, READS_CHUNKS, ECHOES };

struct connection {
   enum state state;
   int fd;
   bool is_last;          /* close when the answer is out */
   bool waits_to_write;   /* the kernel did not take all of the answer */
   size_t body_left;      /* of a request with a length */
   size_t held_size;      /* bytes read and not yet used */
   struct answer left;    /* what remains to be written */
   char held[HELD];
};

static int poller;

static void fail(const char *what) {
   perror(what);
   exit(1);
}

static struct answer fixed(size_t size, const char *more, char mark) {
   char *data = malloc(sizeof HEAD + 200 + size);
   if (!data)
      fail("malloc");
   int head = sprintf(data, "%s%sContent-Length: %zu\r\n\r\n", HEAD, more, size);
   memset(data + head, 'x', size);
   data[head] = mark;
   return (struct answer){data, head + size};
}

static struct answer in_chunks(void) {
   char *data = malloc(sizeof HEAD + 200 + CHUNKS * (CHUNK_BYTES + 20)), *end = data;
   if (!data)
      fail("malloc");
   end += sprintf(end, "%sTransfer-Encoding: chunked\r\n\r\n", HEAD);
   for (int number = 0; number < CHUNKS; number++) {
      end += sprintf(end, "%x\r\n", CHUNK_BYTES);
      memset(end, 'c', CHUNK_BYTES);
      end = stpcpy(end + CHUNK_BYTES, "\r\n");
   }
   end = stpcpy(end, LAST_CHUNK);
   return (struct answer){data, end - data};
}

static void listen_for(struct connection *one, uint32_t events, int how) {
   struct epoll_event event = {.events = events, .data.ptr = one};
   if (epoll_ctl(poller, how, one->fd, &event) < 0)
      fail("epoll_ctl");
}

static void end(struct connection *one) {
   close(one->fd);
   free(one);
}

/* Write what is left. Returns false when the connection has ended. */
static bool flush(struct connection *one) {
   while (one->left.size) {
      ssize_t done = send(one->fd, one->left.data, one->left.size, MSG_NOSIGNAL);
      if (done < 0 && errno == EAGAIN) {
         if (!one->waits_to_write)
            listen_for(one, EPOLLOUT, EPOLL_CTL_MOD);
         one->waits_to_write = true;
         return true;
      }
      if (done <= 0) {
         end(one);
         return false;
      }
      one->left.data += done;
      one->left.size -= done;
   }
   if (one->is_last) {
      end(one);
      return false;
   }
   if (one->waits_to_write)
      listen_for(one, EPOLLIN, EPOLL_CTL_MOD);
   one->waits_to_write = false;
   return true;
}

static bool reply(struct connection *one, struct answer answer) {
   one->left = answer;
   return flush(one);
}

static bool has(const char *head, size_t size, const char *text) {
   return memmem(head, size, text, strlen(text)) != NULL;
}

/* The value of Content-Length, or 0; names come in any case. The head ends with an empty line. */
static size_t length_of(char *head, size_t size) {
   head[size - 1] = 0;
   const char *found = strcasestr(head, "\r\ncontent-length:");
   return found ? strtoul(found + 17, NULL, 10) : 0;
}

static struct answer chosen(const char *path) {
   if (!memcmp(path, "/10k", 4))
      return ten_kib;
   if (!memcmp(path, "/100", 4))
      return hundred_kib;
   if (!memcmp(path, "/10m", 4))
      return ten_mib;
   return memcmp(path, "/chu", 4) ? small : chunked;
}

/* A head is complete: answer, or begin to read its body. Returns false when the connection ended. */
static bool begin(struct connection *one, char *head, size_t size) {
   if (!memcmp(head, "GET /ws", 7)) {
      one->state = ECHOES;
      return reply(one, (struct answer){UPGRADED, sizeof UPGRADED - 1});
   }
   if (!memcmp(head, "GET ", 4)) {
      /* As the load sends it, through a relay that passes everything. */
      one->is_last = has(head, size, "\r\nConnection: close\r\n");
      return reply(one, one->is_last ? small_last : chosen(head + 4));
   }
   one->body_left = length_of(head, size);
   if (one->body_left) {
      one->state = READS_LENGTH;
      return true;
   }
   head[size - 1] = 0;
   if (strcasestr(head, "\r\ntransfer-encoding: chunked")) {
      one->state = READS_CHUNKS;
      return true;
   }
   return reply(one, small);
}

/* One frame from the load: short, masked with zeros. Returns its size, 0 while it is incomplete. */
static size_t echo(struct connection *one, const char *frame, size_t size) {
   static char out[2 + 125];
   size_t length = size < 2 ? 0 : frame[1] & 127;
   if (size < 6 + length)
      return 0;
   out[0] = frame[0];
   out[1] = length;
   memcpy(out + 2, frame + 6, length);
   one->is_last = (frame[0] & 15) == 8;
   return reply(one, (struct answer){out, 2 + length}) ? 6 + length : size + 1;
}

/* Use what was read. Returns false when the connection has ended. */
static bool use(struct connection *one) {
   char *data = one->held;
   size_t size = one->held_size;
   while (size && !one->waits_to_write) {
      size_t used = 0;
      if (one->state == READS_HEAD) {
         char *stop = memmem(data, size, "\r\n\r\n", 4);
         if (!stop)
            break;
         used = stop + 4 - data;
         if (!begin(one, data, used))
            return false;
      } else if (one->state == READS_LENGTH) {
         used = size < one->body_left ? size : one->body_left;
         one->body_left -= used;
         if (!one->body_left) {
            one->state = READS_HEAD;
            if (!reply(one, small))
               return false;
         }
      } else if (one->state == READS_CHUNKS) {
         char *stop = memmem(data, size, LAST_CHUNK, sizeof LAST_CHUNK - 1);
         if (!stop) { /* its beginning may be there already */
            used = size > 4 ? size - 4 : 0;
            data += used;
            size -= used;
            break;
         }
         used = stop + sizeof LAST_CHUNK - 1 - data;
         one->state = READS_HEAD;
         if (!reply(one, small))
            return false;
      } else {
         used = echo(one, data, size);
         if (used > size)
            return false;
         if (!used)
            break;
      }
      data += used;
      size -= used;
   }
   memmove(one->held, data, size);
   one->held_size = size;
   return true;
}

static void serve(struct connection *one, uint32_t events) {
   if (events & EPOLLOUT) {
      if (!flush(one) || one->waits_to_write || !use(one))
         return;
   }
   if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
      ssize_t got = recv(one->fd, one->held + one->held_size, HELD - one->held_size, 0);
      if (got < 0 && errno == EAGAIN)
         return;
      if (got <= 0) {
         end(one);
         return;
      }
      one->held_size += got;
      use(one);
   }
}

static void accept_all(int listener) {
   int fd, yes = 1;
   while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      struct connection *one = malloc(sizeof *one);
      if (!one)
         fail("malloc");
      memset(one, 0, offsetof(struct connection, held));
      one->fd = fd;
      listen_for(one, EPOLLIN, EPOLL_CTL_ADD);
   }
}

static int listen_on(int port) {
   int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
   struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
   address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
   setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
   if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
      fail("listen");
   return listener;
}

int main(int count, char **arguments) {
   if (count < 3) {
      fprintf(stderr, "usage: light_backend MARK PORT...\n");
      return 2;
   }
   char mark = arguments[1][0];
   small = fixed(SMALL_BYTES, "", mark);
   small_last = fixed(SMALL_BYTES, CLOSE, mark);
   ten_kib = fixed(10 << 10, "", mark);
   hundred_kib = fixed(100 << 10, "", mark);
   ten_mib = fixed(10 << 20, "", mark);
   chunked = in_chunks();

   struct rlimit files;
   getrlimit(RLIMIT_NOFILE, &files);
   files.rlim_cur = files.rlim_max;
   setrlimit(RLIMIT_NOFILE, &files);

   poller = epoll_create1(EPOLL_CLOEXEC);
   int listeners[count];
   for (int number = 2; number < count; number++) {
      listeners[number] = listen_on(atoi(arguments[number]));
      struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listeners[number]};
      epoll_ctl(poller, EPOLL_CTL_ADD, listeners[number], &event);
   }
   struct epoll_event events[EVENTS];
   for (;;) {
      int ready = epoll_wait(poller, events, EVENTS, -1);
      for (int number = 0; number < ready; number++) {
         int *listener = events[number].data.ptr;
         if (listener >= listeners && listener < listeners + count)
            accept_all(*listener);
         else
            serve(events[number].data.ptr, events[number].events);
      }
   }
}
