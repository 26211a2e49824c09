/* A load that arrives at a constant rate, whatever becomes of the requests before.
 *
 *   steady_load PORT CONNECTIONS RATE WARM_UP SECONDS LOG [GREETING] < REQUESTS
 *
 * REQUESTS are sent one after the other and again from the beginning; each stands behind its size
 * (32 bits). RATE is in requests a second over all connections; 0 sends on each connection as soon
 * as the answer before is there. After WARM_UP seconds it says "begun" and counts; SECONDS of 0
 * last until TERM. With the file GREETING each connection begins with what that contains, an
 * upgrade, and then speaks WebSocket: a request is a frame.
 *
 * LOG gets five doubles for each request; times are of CLOCK_MONOTONIC, in seconds:
 *   due        when it should have been sent: latency counts from here
 *   sendable   the same, or when a connection came free for it, if later: what lies between this
 *              and `sent` is this program's own delay
 *   sent, answered
 *   mark       the first byte of a 200's body; the negative status of another answer; -1 when the
 *              connection broke within an answer, -2 when it broke before one began on a
 *              connection that had been used before, which a browser would try again by itself. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, HEAD_BYTES = 16 << 10, MANY = 100000, BROKEN = -1, BROKEN_EARLY = -2 };

static const double PATIENCE = 20.0; /* seconds for all connections, and for the last answers */

struct record {
   double due, sendable, sent, answered, mark;
};

struct request {
   const char *data;
   uint32_t size;
};

enum state { CONNECTS, GREETS, IS_FREE, WAITS_FOR_HEAD, WAITS_FOR_BODY, WAITS_FOR_LAST_CHUNK };

struct connection {
   int fd;
   enum state state;
   bool was_used, is_last, waits_to_send;
   struct request unsent; /* what the kernel did not take yet */
   double body_left;
   size_t held_size;
   struct record now;
   char held[HEAD_BYTES];
};

static struct connection *connections;
static int connection_count, poller, free_first, free_count, *free_ring;
static struct request *requests, greeting;
static size_t request_count, request_next;
static struct record *records;
static size_t record_count, record_room;
static double rate, free_since;
static struct sockaddr_in address;
static volatile sig_atomic_t is_told_to_end;

static void fail(const char *what) {
   perror(what);
   exit(1);
}

static double clock_now(void) {
   struct timespec now;
   clock_gettime(CLOCK_MONOTONIC, &now);
   return now.tv_sec + now.tv_nsec / 1e9;
}

static void told_to_end(int number) {
   (void)number;
   is_told_to_end = 1;
}

static void set_free(struct connection *one) {
   one->state = IS_FREE;
   if (!free_count)
      free_since = clock_now();
   free_ring[(free_first + free_count++) % connection_count] = one - connections;
}

static void listen_for(struct connection *one, uint32_t events, int how) {
   struct epoll_event event = {.events = events, .data.ptr = one};
   if (epoll_ctl(poller, how, one->fd, &event))
      fail("epoll_ctl");
}

/* Open it; until it is there it is not free. */
static void open_again(struct connection *one) {
   int yes = 1;
   if (one->fd > 0)
      close(one->fd);
   one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
   if (one->fd < 0)
      fail("socket");
   setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
   one->state = CONNECTS;
   one->was_used = one->is_last = one->waits_to_send = false;
   one->held_size = 0;
   if (connect(one->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
      fail("connect");
   listen_for(one, EPOLLOUT, EPOLL_CTL_ADD);
}

static void record(struct connection *one, double mark) {
   if (record_count == record_room) {
      record_room = record_room ? 2 * record_room : MANY;
      records = realloc(records, record_room * sizeof *records);
      if (!records)
         fail("realloc");
   }
   one->now.answered = clock_now();
   one->now.mark = mark;
   records[record_count++] = one->now;
}

static void broke(struct connection *one) {
   if (one->state >= WAITS_FOR_HEAD) {
      bool is_early = one->was_used && one->state == WAITS_FOR_HEAD && !one->held_size;
      record(one, is_early ? BROKEN_EARLY : BROKEN);
   } else if (one->state == IS_FREE) { /* take it out of the ring */
      int kept = 0;
      for (int number = 0; number < free_count; number++) {
         int index = free_ring[(free_first + number) % connection_count];
         if (index != one - connections)
            free_ring[(free_first + kept++) % connection_count] = index;
      }
      free_count = kept;
   }
   open_again(one);
}

/* Send what is left of a request; if the kernel does not take it all, go on when it can. */
static void send_rest(struct connection *one) {
   bool was_waiting = one->waits_to_send;
   ssize_t done = send(one->fd, one->unsent.data, one->unsent.size, MSG_NOSIGNAL);
   if (done < 0 && errno != EAGAIN) {
      broke(one);
      return;
   }
   if (done > 0) {
      one->unsent.data += done;
      one->unsent.size -= done;
   }
   one->waits_to_send = one->unsent.size > 0;
   if (one->waits_to_send != was_waiting)
      listen_for(one, EPOLLIN | (one->waits_to_send ? EPOLLOUT : 0), EPOLL_CTL_MOD);
}

static void send_one(struct connection *one, double due) {
   struct request *next = &requests[request_next];
   request_next = (request_next + 1) % request_count;
   one->state = WAITS_FOR_HEAD;
   one->now.due = due;
   one->now.sendable = due > free_since ? due : free_since;
   one->now.sent = clock_now();
   one->unsent = *next;
   send_rest(one);
}

static void answered(struct connection *one, double mark) {
   record(one, mark);
   one->was_used = true;
   if (one->is_last) {
      open_again(one);
   } else if (rate) {
      set_free(one);
   } else {
      free_since = 0;
      send_one(one, clock_now());
   }
}

static bool has_field(const char *head, const char *name_and_value) {
   return strcasestr(head, name_and_value) != NULL;
}

/* A head is complete in `held`: learn how the body ends; without one the answer is complete.
 * The mark waits in `now`. */
static void begin_body(struct connection *one, char *body) {
   char *head = one->held;
   body[-1] = 0;
   int status = atoi(head + 9);
   const char *length = strcasestr(head, "\r\ncontent-length:");
   one->is_last = has_field(head, "\r\nconnection: close");
   one->now.mark = status == 200 ? 0 : -status;
   if (length) {
      one->body_left = strtod(length + 17, NULL);
      one->state = WAITS_FOR_BODY;
   } else {
      one->body_left = 1;
      one->state = WAITS_FOR_LAST_CHUNK;
   }
   if (!one->body_left)
      answered(one, one->now.mark);
}

/* Use `size` bytes of a body. Returns how many belong to it. */
static size_t use_body(struct connection *one, const char *data, size_t size) {
   if (!one->now.mark && size)
      one->now.mark = (unsigned char)data[0];
   if (one->state == WAITS_FOR_BODY) {
      size_t used = size < one->body_left ? size : one->body_left;
      one->body_left -= used;
      if (!one->body_left)
         answered(one, one->now.mark);
      return used;
   }
   const char *stop = memmem(data, size, "0\r\n\r\n", 5);
   if (stop)
      answered(one, one->now.mark);
   return stop ? (size_t)(stop + 5 - data) : size > 4 ? size - 4 : 0;
}

/* What the backend's echo consists of: two bytes and the payload. */
static size_t use_frame(struct connection *one, const char *data, size_t size) {
   size_t whole = size < 2 ? 2 : 2 + (data[1] & 127);
   if (size < whole)
      return 0;
   answered(one, whole > 2 ? data[2] : 'w');
   return whole;
}

static void use(struct connection *one) {
   size_t used = 1;
   while (one->held_size && used) {
      used = 0;
      if (one->state == GREETS || (one->state == WAITS_FOR_HEAD && !greeting.size)) {
         char *stop = memmem(one->held, one->held_size, "\r\n\r\n", 4);
         if (!stop)
            return;
         used = stop + 4 - one->held;
         if (one->state == WAITS_FOR_HEAD)
            begin_body(one, stop + 4);
         else if (memcmp(one->held + 9, "101", 3))
            fail("not upgraded");
         else
            set_free(one);
      } else if (one->state == WAITS_FOR_HEAD) {
         used = use_frame(one, one->held, one->held_size);
      } else if (one->state >= WAITS_FOR_BODY) {
         used = use_body(one, one->held, one->held_size);
      } else {
         return; /* bytes that nobody asked for */
      }
      if (one->state == CONNECTS)
         return; /* it was the last answer of that connection */
      one->held_size -= used;
      memmove(one->held, one->held + used, one->held_size);
   }
}

static void receive(struct connection *one) {
   ssize_t got = recv(one->fd, one->held + one->held_size, HEAD_BYTES - one->held_size - 1, 0);
   if (got < 0 && errno == EAGAIN)
      return;
   if (got <= 0) {
      broke(one);
      return;
   }
   one->held_size += got;
   use(one);
}

static void event_on(struct connection *one, uint32_t events) {
   if (one->state == CONNECTS && events & (EPOLLHUP | EPOLLERR)) {
      open_again(one);
   } else if (one->state == CONNECTS) {
      listen_for(one, EPOLLIN, EPOLL_CTL_MOD);
      if (greeting.size) {
         one->state = GREETS;
         if (send(one->fd, greeting.data, greeting.size, MSG_NOSIGNAL) < 0)
            open_again(one);
      } else {
         set_free(one);
      }
   } else {
      if (events & EPOLLOUT)
         send_rest(one);
      if (events & ~EPOLLOUT)
         receive(one);
   }
}

/* Wait for what happens, at most until `until`. */
static void turn(double until) {
   static struct epoll_event events[EVENTS];
   double left = until - clock_now();
   struct timespec wait = {0, 0};
   if (left > 0) {
      wait.tv_sec = left;
      wait.tv_nsec = (left - wait.tv_sec) * 1e9;
   }
   int ready = epoll_pwait2(poller, events, EVENTS, &wait, NULL);
   for (int number = 0; number < ready; number++)
      event_on(events[number].data.ptr, events[number].events);
}

static struct connection *take_free(void) {
   struct connection *one = &connections[free_ring[free_first]];
   free_first = (free_first + 1) % connection_count;
   free_count--;
   return one;
}

/* Send at the rate for some time, or until told to end if that is 0. */
static void load(double seconds) {
   double began = clock_now(), stop = seconds ? began + seconds : 1e18, sent = 0;
   while (!is_told_to_end && clock_now() < stop) {
      double due = rate ? began + sent / rate : 0;
      while (free_count && (!rate || due <= clock_now())) {
         send_one(take_free(), rate ? due : clock_now());
         sent++;
         due = rate ? began + sent / rate : 0;
      }
      double pause = clock_now() + 0.1;
      double until = free_count && due < pause ? due : pause;
      turn(until < stop ? until : stop);
   }
}

/* Wait for the answers that are still to come. */
static void settle(void) {
   double stop = clock_now() + PATIENCE, old_rate = rate;
   int waiting = 1;
   rate = 1; /* an answer is not followed by another request */
   while (waiting && clock_now() < stop) {
      waiting = 0;
      for (int number = 0; number < connection_count; number++)
         waiting += connections[number].state >= WAITS_FOR_HEAD;
      if (waiting)
         turn(clock_now() + 0.01);
   }
   for (int number = 0; number < connection_count; number++)
      if (connections[number].state >= WAITS_FOR_HEAD)
         record(&connections[number], BROKEN);
   rate = old_rate;
}

static struct request read_whole(FILE *file) {
   size_t room = 1 << 16, size = 0;
   char *data = malloc(room);
   for (size_t got; data && (got = fread(data + size, 1, room - size, file)); size += got)
      if (size + got == room)
         data = realloc(data, room *= 2);
   if (!data || size > UINT32_MAX)
      fail("read");
   return (struct request){data, size};
}

static void read_requests(void) {
   struct request all = read_whole(stdin);
   for (size_t at = 0; at + 4 <= all.size; request_count++) {
      requests = realloc(requests, (request_count + 1) * sizeof *requests);
      if (!requests)
         fail("realloc");
      memcpy(&requests[request_count].size, all.data + at, 4);
      requests[request_count].data = all.data + at + 4;
      at += 4 + requests[request_count].size;
   }
   if (!request_count)
      fail("no requests");
}

static void open_all(int port) {
   address.sin_family = AF_INET;
   address.sin_port = htons(port);
   address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
   poller = epoll_create1(EPOLL_CLOEXEC);
   connections = calloc(connection_count, sizeof *connections);
   free_ring = calloc(connection_count, sizeof *free_ring);
   if (!connections || !free_ring)
      fail("calloc");
   double stop = clock_now() + PATIENCE;
   for (int number = 0; number < connection_count; number++) {
      open_again(&connections[number]);
      if (number % 100 == 99)
         turn(clock_now() + 0.005); /* a burst of thousands would overflow a queue */
   }
   while (free_count < connection_count && clock_now() < stop)
      turn(clock_now() + 0.01);
   if (free_count < connection_count) {
      fprintf(stderr, "only %d of %d connections opened\n", free_count, connection_count);
      exit(1);
   }
}

int main(int count, char **arguments) {
   if (count != 7 && count != 8) {
      fprintf(stderr, "usage: steady_load PORT CONNECTIONS RATE WARM_UP SECONDS LOG [GREETING]\n");
      return 2;
   }
   connection_count = atoi(arguments[2]);
   rate = atof(arguments[3]);
   read_requests();
   if (count == 8) {
      FILE *file = fopen(arguments[7], "rb");
      if (!file)
         fail(arguments[7]);
      greeting = read_whole(file);
      fclose(file);
   }
   struct rlimit files;
   getrlimit(RLIMIT_NOFILE, &files);
   files.rlim_cur = files.rlim_max;
   setrlimit(RLIMIT_NOFILE, &files);
   signal(SIGTERM, told_to_end);

   open_all(atoi(arguments[1]));
   double warm_up = atof(arguments[4]);
   if (warm_up)
      load(warm_up);
   if (rate)
      settle();
   record_count = 0;
   puts("begun");
   fflush(stdout);
   load(atof(arguments[5]));
   settle();
   FILE *log = fopen(arguments[6], "wb");
   if (!log || fwrite(records, sizeof *records, record_count, log) != record_count || fclose(log))
      fail(arguments[6]);
   return 0;
}
