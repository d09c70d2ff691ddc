/* loadgen: asks an OpenAI-compatible server for chat completions and believes no answer that is not whole.
 *
 *   loadgen --port P --body FILE [--host H] [--path PATH] [--header 'Name: value']... [--connections N] [--seconds S] [--warm S]
 *           [--rate R] [--stream] [--chunks N] [--count N]
 *
 *   without --rate   closed loop: N connections, each with one request in flight; what ends inside the window counts.
 *   --rate R         open loop: Poisson arrivals, R a second, over at most N connections. Latency counts from the moment a
 *                    request should have been sent, so a pause is charged to everything it delays. What was due inside the
 *                    window counts.
 *   --count N        closed loop that ends after N requests (for instruction counts); no window.
 *   Nothing is cut off at the end: requests in flight are waited for, at most 20 s, so that the books of a gateway can agree
 *   with what was answered. What is still open then is `unfinished`; `open_at_end` is
 *                    what was open when the window closed, the queue of a server that is too slow for the rate.
 *
 *   The body must hold `#` + 16 digits + `#` once; each request gets its own number there, so no cache can answer.
 *   An answer is right only if: status 200, framed once, not a byte short or over; not streamed: the mock's sentence with this request's
 *   own number, and a usage object; streamed: this request's own number on every chunk, the chunks 0, 1, 2... all there and in
 *   order, finish_reason "stop", usage, and `data: [DONE]` as the last line. Anything else is `wrong` and its reason is counted.
 *   Prints one JSON object; times in microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_NS 20000000000ull
#define SENTENCE "The toll is two shillings, #"

#define REASONS(X) \
    X(RIGHT, "right") X(STATUS, "status") X(FRAMING, "framing") X(SURPLUS, "surplus_bytes") X(CONTENT, "content") X(SWAPPED, "not_its_own_answer") \
    X(MISSING_CHUNK, "chunk_count") X(DISORDER, "chunk_order") X(NO_STOP, "no_finish_reason") X(NO_USAGE, "no_usage") X(NO_DONE, "no_done") \
    X(CUT_SHORT, "cut_short") X(REFUSED, "connection_refused_or_reset")
#define AS_NAME(name, text) name,
#define AS_TEXT(name, text) text,
enum reason { REASONS(AS_NAME) REASONS_LEN };
static const char *const reason_text[] = {REASONS(AS_TEXT)};

enum part { HEAD, SIZED, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };

struct series { float *values; size_t len, cap; };

struct connection {
    int fd;
    bool connected, busy, wants_out, keep, stop, usage, done, early;
    enum part part;
    enum reason fault; /* the first thing found wrong, RIGHT until then */
    int status;
    uint64_t due, serial;
    char mark[17];
    size_t sent, left;
    char head[16384];
    size_t head_len;
    char text[16384]; /* streamed: the line being read; else: the whole body */
    size_t text_len;
    char size[20];
    size_t size_len;
    unsigned long chunks;
    struct connection *next_idle;
};

static struct sockaddr_in address;
static char *request;
static size_t request_len, mark_at;
static int poller, connections_max = 64;
static bool streaming, bounded;
static double rate, seconds = 5, warm = 1;
static unsigned long chunks_wanted = 64, count_max;
static uint64_t window_from, window_to, next_serial;

static struct series latency, first_chunk, chunk_latency;
static unsigned long counts[REASONS_LEN], started, right_in_window, chunks_in_window, in_flight, opened, open_at_end, unfinished, waited_max;
static int last_status;
static char last_fault[200];
static struct connection *idle;
static uint64_t *queue; /* arrivals that wait for a connection */
static size_t queue_from, queue_to, queue_cap = 1 << 20;

static void die(const char *what) { perror(what); exit(3); }

static void add(struct series *s, double value) {
    if (s->len == s->cap && !(s->values = realloc(s->values, (s->cap = s->cap ? s->cap * 2 : 1 << 16) * sizeof *s->values))) die("realloc");
    s->values[s->len++] = (float)value;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double chance(void) { /* xorshift, in (0, 1): the same arrivals in each run, so that runs differ in the target alone */
    static uint64_t state = 0x9E3779B97F4A7C15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void watch(struct connection *c, bool out) {
    if (c->wants_out == out) return;
    c->wants_out = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

static void dial(struct connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connect(c->fd, (void *)&address, sizeof address);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
    c->connected = false;
    c->wants_out = true;
    opened++;
}

static void hang_up(struct connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

/* The request is one text with 16 digits of each connection's own in its middle. */
static bool transmit(struct connection *c) {
    while (c->sent < request_len) {
        struct iovec parts[3] = {{request, mark_at}, {c->mark, 16}, {request + mark_at + 16, request_len - mark_at - 16}};
        size_t skip = c->sent;
        int first = 0;
        for (; skip >= parts[first].iov_len; first++) skip -= parts[first].iov_len;
        parts[first].iov_base = (char *)parts[first].iov_base + skip;
        parts[first].iov_len -= skip;
        struct msghdr message = {.msg_iov = parts + first, .msg_iovlen = (size_t)(3 - first)};
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n < 0) { watch(c, true); return true; }
        c->sent += (size_t)n;
    }
    watch(c, false);
    return true;
}

static void begin(struct connection *c, uint64_t due) {
    started++;
    in_flight++;
    c->busy = c->keep = true;
    c->stop = c->usage = c->done = c->early = false;
    c->part = HEAD;
    c->fault = RIGHT;
    c->due = due;
    c->serial = next_serial++;
    c->sent = c->head_len = c->text_len = c->size_len = 0;
    c->status = 0;
    c->chunks = 0;
    uint64_t rest = c->serial;
    for (int i = 15; i >= 0; i--, rest /= 10) c->mark[i] = (char)('0' + rest % 10);
    if (c->fd >= 0 && c->connected && !transmit(c)) { hang_up(c); c->sent = 0; } /* the server had closed it meanwhile */
    if (c->fd < 0) dial(c);
}

static bool may_begin(uint64_t now) { return count_max ? started < count_max : now < window_to; }

static void rest(struct connection *c) {
    c->busy = false;
    in_flight--;
    uint64_t now = now_ns();
    if (rate <= 0) { if (may_begin(now)) begin(c, now); return; }
    if (queue_from < queue_to) { begin(c, queue[queue_from++ % queue_cap]); return; }
    c->next_idle = idle;
    idle = c;
}

/* --- judging ------------------------------------------------------------------------------------------------------ */

static void blame(struct connection *c, enum reason fault) { if (c->fault == RIGHT) c->fault = fault; }

static void judge_whole(struct connection *c) {
    c->text[c->text_len] = 0;
    char *at = memmem(c->text, c->text_len, SENTENCE, sizeof SENTENCE - 1);
    if (!at) blame(c, CONTENT);
    else if (strncmp(at + sizeof SENTENCE - 1, c->mark, 16)) blame(c, SWAPPED);
    if (!strstr(c->text, "\"total_tokens\"")) blame(c, NO_USAGE);
}

static void judge_stream(struct connection *c) {
    if (c->chunks != chunks_wanted) blame(c, MISSING_CHUNK);
    if (!c->stop) blame(c, NO_STOP);
    if (!c->usage) blame(c, NO_USAGE);
    if (!c->done) blame(c, NO_DONE);
}

static void finish(struct connection *c, enum reason fault) {
    uint64_t now = now_ns();
    blame(c, fault);
    if (c->fault == RIGHT && c->status != 200) blame(c, STATUS);
    if (c->fault == RIGHT) streaming ? judge_stream(c) : judge_whole(c);
    bool counts_here = !bounded ? true : rate > 0 ? c->due >= window_from && c->due < window_to : now >= window_from && now <= window_to;
    counts[c->fault]++;
    if (c->fault == RIGHT && counts_here) { right_in_window++; add(&latency, (double)(now - c->due) / 1e3); }
    if (c->fault != RIGHT) {
        last_status = c->status;
        c->text[c->text_len < sizeof c->text ? c->text_len : sizeof c->text - 1] = 0;
        snprintf(last_fault, sizeof last_fault, "%.190s", c->text);
    }
    if (!c->keep || c->sent < request_len || c->fault > STATUS) hang_up(c);
    rest(c);
}

static void broke(struct connection *c) {
    hang_up(c);
    if (c->busy) finish(c, c->head_len ? CUT_SHORT : REFUSED);
}

static void chunk(struct connection *c, const char *at, uint64_t now) {
    char *end;
    if (strncmp(at, c->mark, 16)) { blame(c, SWAPPED); return; }
    if (at[16] != ':' || strtoul(at + 17, &end, 10) != c->chunks || *end != ':') { blame(c, DISORDER); return; }
    uint64_t sent_at = strtoull(end + 1, NULL, 10);
    bool counts_here = c->due >= window_from && now <= window_to;
    bool due_here = rate > 0 ? c->due >= window_from && c->due < window_to : counts_here;
    if (c->chunks++ == 0 && due_here) add(&first_chunk, (double)(now - c->due) / 1e3);
    if (counts_here) {
        chunks_in_window++;
        if (chunk_latency.len < 4000000) add(&chunk_latency, (double)now / 1e3 - (double)sent_at / 1e3);
    }
}

static void line(struct connection *c, uint64_t now) {
    if (c->text_len && c->text[c->text_len - 1] == '\r') c->text_len--;
    c->text[c->text_len] = 0;
    if (!c->text_len || c->text[0] == ':') return; /* between events; a comment is allowed */
    if (c->done || strncmp(c->text, "data: ", 6)) { if (c->done || strncmp(c->text, "event: ", 7)) blame(c, CONTENT); return; }
    if (!strcmp(c->text + 6, "[DONE]")) { c->done = true; return; }
    char *mark = memchr(c->text, '#', c->text_len);
    if (mark) chunk(c, mark + 1, now);
    else if (strstr(c->text, "\"stop\"")) c->stop = true;
    if (!mark && strstr(c->text, "\"total_tokens\"")) c->usage = true;
}

static void content(struct connection *c, const char *bytes, size_t len, uint64_t now) {
    while (len) {
        const char *end = streaming && c->status == 200 ? memchr(bytes, '\n', len) : NULL;
        size_t n = end ? (size_t)(end - bytes) : len, room = sizeof c->text - 1 - c->text_len;
        if (n > room) { n = room; blame(c, CONTENT); if (!n) return; }
        memcpy(c->text + c->text_len, bytes, n);
        c->text_len += n;
        bytes += n;
        len -= n;
        if (end && bytes == end) { line(c, now); c->text_len = 0; bytes++; len--; }
    }
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static bool read_head(struct connection *c) { /* false: no such framing */
    int framings = 0;
    c->left = 0;
    c->status = strncmp(c->head, "HTTP/1.1 ", 9) ? 0 : atoi(c->head + 9);
    for (char *at = strchr(c->head, '\n'); at && at[1] != '\r'; at = strchr(at + 1, '\n')) {
        if (!strncasecmp(at + 1, "content-length:", 15)) { c->left = strtoul(at + 16, NULL, 10); c->part = SIZED; framings++; }
        if (!strncasecmp(at + 1, "transfer-encoding: chunked", 26)) { c->part = CHUNK_SIZE; framings++; }
        if (!strncasecmp(at + 1, "connection: close", 17)) c->keep = false;
    }
    return framings == 1 && c->status;
}

/* Takes one byte of a line of the chunked framing; true when the line is whole. */
static bool framing_line(struct connection *c, char byte) {
    if (byte == '\n') { c->size[c->size_len] = 0; c->size_len = 0; return true; }
    if (byte != '\r' && c->size_len < sizeof c->size - 1) c->size[c->size_len++] = byte;
    return false;
}

static void receive(struct connection *c, const char *at, const char *end, uint64_t now) {
    if (!c->busy) { counts[SURPLUS]++; hang_up(c); return; }
    while (at < end) {
        size_t n = (size_t)(end - at);
        switch (c->part) {
        case HEAD: {
            size_t had = c->head_len, room = sizeof c->head - 1 - had;
            if (n > room) n = room;
            memcpy(c->head + had, at, n);
            c->head[c->head_len = had + n] = 0;
            char *stop = memmem(c->head, c->head_len, "\r\n\r\n", 4);
            if (!stop) { if (n == room) finish(c, FRAMING); return; }
            at += (size_t)(stop + 4 - c->head) - had;
            if (!read_head(c)) { finish(c, FRAMING); return; }
            if (c->part == SIZED && !c->left) { finish(c, at < end ? SURPLUS : RIGHT); return; }
            break;
        }
        case SIZED:
        case CHUNK_DATA:
            if (n > c->left) n = c->left;
            content(c, at, n, now);
            at += n;
            if (c->left -= n) break;
            if (c->part == SIZED) { finish(c, at < end ? SURPLUS : RIGHT); return; }
            c->part = CHUNK_END;
            break;
        case CHUNK_SIZE:
            if (!framing_line(c, *at++)) break;
            if (!isxdigit((unsigned char)c->size[0])) { finish(c, FRAMING); return; }
            c->left = strtoul(c->size, NULL, 16);
            c->part = c->left ? CHUNK_DATA : TRAILER;
            break;
        case CHUNK_END:
            if (!framing_line(c, *at++)) break;
            if (c->size[0]) { finish(c, FRAMING); return; }
            c->part = CHUNK_SIZE;
            break;
        case TRAILER:
            if (!framing_line(c, *at++) || c->size[0]) break;
            finish(c, at < end ? SURPLUS : RIGHT);
            return;
        }
    }
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

static struct connection *new_connection(void) {
    static int made;
    if (made == connections_max) return NULL;
    struct connection *c = calloc(1, sizeof *c);
    if (!c) die("calloc");
    made++;
    c->fd = -1;
    return c;
}

static void arrive(uint64_t due) {
    struct connection *c = idle;
    if (c) idle = c->next_idle;
    else c = new_connection();
    if (c) { begin(c, due); return; }
    if (queue_to - queue_from == queue_cap) { fprintf(stderr, "loadgen: a million requests wait; lower --rate\n"); exit(3); }
    queue[queue_to++ % queue_cap] = due;
    if (queue_to - queue_from > waited_max) waited_max = queue_to - queue_from;
}

static void serve(struct connection *c, unsigned events) {
    static char bytes[1 << 18];
    if (c->fd < 0) return;
    if (events & EPOLLERR && !c->connected) { broke(c); return; }
    if (events & EPOLLOUT) {
        c->connected = true;
        if (!(c->busy && c->sent < request_len)) watch(c, false);
        else if (!transmit(c)) { broke(c); return; }
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
        if (n > 0) receive(c, bytes, bytes + n, now_ns());
        else if (n == 0 || errno != EAGAIN) broke(c);
    }
}

static void run(void) {
    uint64_t start = now_ns(), next = start;
    window_from = start + (uint64_t)(warm * 1e9);
    window_to = window_from + (uint64_t)(seconds * 1e9);
    bool ended = false;
    next_serial = start / 1000 % 1000000000000u * 1000; /* other numbers in each run */
    if (rate <= 0)
        for (struct connection *c; (!count_max || started < count_max) && (c = new_connection());) begin(c, now_ns());
    for (struct epoll_event events[1024];;) {
        uint64_t now = now_ns();
        bool over = count_max ? started >= count_max : now >= window_to;
        if (over && !ended) { ended = true; open_at_end = in_flight + (queue_to - queue_from); }
        if (over && !in_flight && queue_from == queue_to) break;
        if (!count_max && now >= window_to + DRAIN_NS) break;
        while (rate > 0 && next <= now && next < window_to) {
            arrive(next);
            next += (uint64_t)(-log(chance()) / rate * 1e9);
        }
        uint64_t until = rate > 0 && next < window_to ? next : now + 50000000;
        now = now_ns();
        struct timespec pause = {0, until <= now ? 0 : until - now > 50000000 ? 50000000 : (long)(until - now)};
        int n = epoll_pwait2(poller, events, 1024, &pause, NULL);
        for (int i = 0; i < n; i++) serve(events[i].data.ptr, events[i].events);
    }
    unfinished = in_flight + (queue_to - queue_from);
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void tell(const char *name, struct series *s) {
    double sum = 0;
    for (size_t i = 0; i < s->len; i++) sum += s->values[i];
    if (s->len) qsort(s->values, s->len, sizeof *s->values, by_size);
    printf(", \"%s\": {\"n\": %zu, \"mean\": %.1f", name, s->len, s->len ? sum / (double)s->len : 0.0);
    static const struct { const char *name; double share; } shares[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"p999", .999}, {"max", 1}};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        printf(", \"%s\": %.1f", shares[i].name, s->len ? (double)s->values[(size_t)(shares[i].share * (double)(s->len - 1))] : 0.0);
    printf("}");
}

static void tell_text(const char *text) {
    putchar('"');
    for (; *text; text++) {
        if ((unsigned char)*text < 32) printf("\\u%04x", *text);
        else if ((unsigned char)*text > 126) putchar('?');
        else { if (*text == '"' || *text == '\\') putchar('\\'); putchar(*text); }
    }
    putchar('"');
}

static void report(void) {
    unsigned long wrong = 0;
    for (int i = RIGHT + 1; i < REASONS_LEN; i++) wrong += counts[i];
    printf("{\"started\": %lu, \"right\": %lu, \"right_in_window\": %lu, \"per_s\": %.2f, \"wrong\": %lu, \"open_at_end\": %lu, \"unfinished\": %lu, \"connections\": %lu, \"waited_max\": %lu, \"wrong_by\": {",
           started, counts[RIGHT], right_in_window, (double)right_in_window / seconds, wrong, open_at_end, unfinished, opened, waited_max);
    for (int i = RIGHT + 1, told = 0; i < REASONS_LEN; i++)
        if (counts[i]) printf("%s\"%s\": %lu", told++ ? ", " : "", reason_text[i], counts[i]);
    printf("}, \"last_wrong\": {\"status\": %d, \"body\": ", last_status);
    tell_text(last_fault);
    printf("}");
    tell("latency_us", &latency);
    if (streaming) {
        tell("first_chunk_us", &first_chunk);
        tell("chunk_us", &chunk_latency);
        printf(", \"chunks_per_s\": %.1f", (double)chunks_in_window / seconds);
    }
    printf("}\n");
}

static void read_request(const char *file, const char *host, int port, const char *path, const char *headers) {
    FILE *f = file ? fopen(file, "rb") : NULL;
    if (!f) { fprintf(stderr, "loadgen: --body names a file with the request's JSON\n"); exit(2); }
    fseek(f, 0, SEEK_END);
    size_t len = (size_t)ftell(f);
    rewind(f);
    request = malloc(len + strlen(headers) + strlen(path) + 512);
    if (!request) die("malloc");
    int head = sprintf(request, "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\nAccept: */*\r\nUser-Agent: loadgen\r\n%sContent-Length: %zu\r\n\r\n",
                       path, host, port, headers, len);
    if (fread(request + head, 1, len, f) != len) die(file);
    fclose(f);
    request_len = (size_t)head + len;
    char *mark = memrchr(request + head, '#', len);
    if (!mark || mark - request - head < 17 || mark[-17] != '#') { fprintf(stderr, "loadgen: the body needs a #0000000000000000# for the running number\n"); exit(2); }
    mark_at = (size_t)(mark - 16 - request);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"path", 1, 0, 'u'}, {"header", 1, 0, 'H'}, {"body", 1, 0, 'b'}, {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 'd'},
        {"warm", 1, 0, 'w'}, {"rate", 1, 0, 'r'}, {"stream", 0, 0, 's'}, {"chunks", 1, 0, 'k'}, {"count", 1, 0, 'n'}, {0, 0, 0, 0}};
    const char *host = "127.0.0.1", *path = "/v1/chat/completions", *body = NULL;
    char headers[8192] = "";
    int port = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (option) {
        case 'h': host = optarg; break;
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'b': body = optarg; break;
        case 'c': connections_max = atoi(optarg); break;
        case 'd': seconds = atof(optarg); break;
        case 'w': warm = atof(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 's': streaming = true; break;
        case 'k': chunks_wanted = strtoul(optarg, NULL, 10); break;
        case 'n': count_max = strtoul(optarg, NULL, 10); break;
        case 'H':
            if (strlen(headers) + strlen(optarg) + 3 > sizeof headers) { fprintf(stderr, "loadgen: too many headers\n"); return 2; }
            strcat(strcat(headers, optarg), "\r\n");
            break;
        default: return 2;
    }
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (!port || inet_pton(AF_INET, host, &address.sin_addr) != 1) { fprintf(stderr, "loadgen: --port is needed, and --host takes an IPv4 address\n"); return 2; }
    read_request(body, host, port, path, headers);
    bounded = !count_max;
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    poller = epoll_create1(0);
    queue = malloc(queue_cap * sizeof *queue);
    if (!queue) die("malloc");
    run();
    report();
    return 0;
}
