/* mock: the provider behind every target. It answers OpenAI chat completions, streamed or not, for about two microseconds
 * of CPU, and keeps a bill, so that what a gateway wrote into its books can be held against it.
 *
 *   mock PORT...          one thread; 127.0.0.1 only; each port is a door with its own manners and its own bill
 *
 *   POST anything                    a chat completion. `"stream": true` in the first or last kilobyte of the body streams it:
 *                                    role, CHUNKS content chunks, finish, usage (if include_usage asks for it), [DONE].
 *   GET /mock/set?delay_us=60000&chunks=64&gap_us=10000      that door's manners, from now on (any subset)
 *   GET /mock/counts                 that door's bill: requests, answers, streams, cancelled, refused, tokens, bytes, connections
 *   GET anything else                a list of one model
 *
 * The last `#` + 16 digits + `#` in a body is the request's serial number. The answer repeats it, so that a client can tell
 * an answer of its own from somebody else's, and the token counts depend on it, so that a bill made of guesses does not fit.
 * A content chunk reads `#SERIAL:INDEX:NANOSECONDS#`; the last is CLOCK_MONOTONIC at the time it was sent.
 * What is no JSON object with "messages" is refused with a 400, so that a mangled request shows.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
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
#include <time.h>
#include <unistd.h>

#define DOORS_MAX 16
#define HEAD_BYTES_MAX 65536
#define MARGIN 1024 /* how much of a body's beginning and end is looked at: the cost must not grow with the body */

struct door {
    int listener;
    long port, delay_us, chunks, gap_us;
    unsigned long requests, answers, streams, cancelled, refused, connections, body_bytes;
    unsigned long input_tokens, cached_input_tokens, output_tokens;
};

enum stage { READING, THINKING, STREAMING };

struct session {
    int fd;
    struct door *door;
    enum stage stage;
    bool stream, usage_wanted, last, wants_out;
    char *in, *out;
    size_t in_len, in_cap, out_from, out_len, out_cap;
    size_t head_len, body_len; /* of the request being read; 0 while its head is not whole */
    uint64_t serial;
    long chunk; /* next to send; -1 is the head and the role */
    uint64_t due;
    size_t place; /* in the heap, 1-based; 0: waits for nothing */
    struct session *next_free;
};

/* A text whose variable digits lie at fixed places, so that an answer is a few stores and a send. */
struct form {
    char text[2048];
    size_t len;
    char *serial, *index, *sent_at, *input, *cached, *output, *total;
};

static struct door doors[DOORS_MAX];
static size_t doors_len;
static int poller;
static struct session *free_sessions;
static struct form whole, opening, chunk_form, finish_form, usage_form;
static const char done_text[] = "e\r\ndata: [DONE]\n\n\r\n";
static const char end_text[] = "0\r\n\r\n";

static void die(const char *what) { perror(what); exit(1); }

static void *grown(void *memory, size_t bytes) {
    memory = realloc(memory, bytes);
    if (!memory) die("realloc");
    return memory;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void digits(char *at, int width, uint64_t value) {
    if (!at) return;
    for (int i = width - 1; i >= 0; i--, value /= 10) at[i] = (char)('0' + value % 10);
}

/* --- the heap of sessions that wait for a time ------------------------------------------------------------------- */

static struct session **heap;
static size_t heap_len, heap_cap;

static void put(size_t place, struct session *s) { heap[place] = s; s->place = place; }

static void sift(size_t place, struct session *s) {
    for (; place > 1 && heap[place / 2]->due > s->due; place /= 2) put(place, heap[place / 2]);
    for (size_t child; (child = place * 2) <= heap_len; place = child) {
        if (child < heap_len && heap[child + 1]->due < heap[child]->due) child++;
        if (heap[child]->due >= s->due) break;
        put(place, heap[child]);
    }
    put(place, s);
}

static void wait_until(struct session *s, uint64_t due) {
    if (heap_len + 2 > heap_cap) heap = grown(heap, (heap_cap = heap_cap ? heap_cap * 2 : 1024) * sizeof *heap);
    s->due = due;
    sift(++heap_len, s);
}

static void forget(struct session *s) {
    if (!s->place) return;
    struct session *moved = heap[heap_len--];
    if (moved != s) sift(s->place, moved);
    s->place = 0;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void watch(struct session *s, bool out) {
    if (s->wants_out == out) return;
    s->wants_out = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = s};
    epoll_ctl(poller, EPOLL_CTL_MOD, s->fd, &e);
}

static bool flush(struct session *s) {
    while (s->out_from < s->out_len) {
        ssize_t n = send(s->fd, s->out + s->out_from, s->out_len - s->out_from, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n < 0) { watch(s, true); return true; }
        s->out_from += (size_t)n;
    }
    s->out_from = s->out_len = 0;
    watch(s, false);
    return true;
}

static bool emit(struct session *s, const char *text, size_t len) {
    if (s->out_len == 0) {
        ssize_t n = send(s->fd, text, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n > 0) { text += n; len -= (size_t)n; }
        if (!len) return true;
    }
    if (s->out_len + len > s->out_cap) s->out = grown(s->out, s->out_cap = (s->out_len + len) * 2);
    memcpy(s->out + s->out_len, text, len);
    s->out_len += len;
    watch(s, true);
    return true;
}

static bool emit_json(struct session *s, const char *status, const char *json) {
    char text[2048];
    int n = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     status, strlen(json), json);
    return emit(s, text, (size_t)n);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static unsigned input_tokens(uint64_t serial) { return 150 + serial % 101; }
static unsigned cached_tokens(uint64_t serial) { return 10 + serial % 83; }
static unsigned output_tokens(uint64_t serial) { return 20 + serial % 73; }

static void bill(struct door *d, uint64_t serial) {
    d->answers++;
    d->input_tokens += input_tokens(serial);
    d->cached_input_tokens += cached_tokens(serial);
    d->output_tokens += output_tokens(serial);
}

static void fill(struct form *f, uint64_t serial) {
    digits(f->serial, 16, serial);
    digits(f->input, 3, input_tokens(serial));
    digits(f->cached, 2, cached_tokens(serial));
    digits(f->output, 2, output_tokens(serial));
    digits(f->total, 3, input_tokens(serial) + output_tokens(serial));
}

/* Runs an answer on until it has ended or must wait. False: the connection is gone. */
static bool answer(struct session *s) {
    struct door *d = s->door;
    if (!s->stream) {
        fill(&whole, s->serial);
        s->stage = READING;
        bill(d, s->serial);
        return emit(s, whole.text, whole.len);
    }
    s->stage = STREAMING;
    if (s->chunk < 0) {
        if (!emit(s, opening.text, opening.len)) return false;
        s->chunk = 0;
        if (d->gap_us) { wait_until(s, now_ns() + (uint64_t)d->gap_us * 1000); return true; }
    }
    while (s->chunk < d->chunks) {
        digits(chunk_form.serial, 16, s->serial);
        digits(chunk_form.index, 5, (uint64_t)s->chunk++);
        digits(chunk_form.sent_at, 19, now_ns());
        if (!emit(s, chunk_form.text, chunk_form.len)) return false;
        if (d->gap_us) { wait_until(s, now_ns() + (uint64_t)d->gap_us * 1000); return true; }
    }
    if (!emit(s, finish_form.text, finish_form.len)) return false;
    if (s->usage_wanted) {
        fill(&usage_form, s->serial);
        if (!emit(s, usage_form.text, usage_form.len)) return false;
    }
    bill(d, s->serial);
    s->stage = READING;
    return emit(s, done_text, sizeof done_text - 1) && emit(s, end_text, sizeof end_text - 1);
}

static bool control(struct session *s, char *path) {
    struct door *d = s->door;
    if (!strncmp(path, "/mock/set?", 10)) {
        for (char *save, *part = strtok_r(path + 10, "&", &save); part; part = strtok_r(NULL, "&", &save))
            if (sscanf(part, "delay_us=%ld", &d->delay_us) + sscanf(part, "chunks=%ld", &d->chunks) + sscanf(part, "gap_us=%ld", &d->gap_us) < 1)
                return emit_json(s, "400 Bad Request", "{\"error\":\"mock: know delay_us, chunks, gap_us\"}");
    } else if (strncmp(path, "/mock/counts", 12)) {
        return emit_json(s, "200 OK", "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o-mini\",\"object\":\"model\",\"created\":1760000000,\"owned_by\":\"mock\"}]}");
    }
    char json[1024];
    snprintf(json, sizeof json,
             "{\"requests\":%lu,\"answers\":%lu,\"streams\":%lu,\"cancelled\":%lu,\"refused\":%lu,\"connections\":%lu,\"body_bytes\":%lu,"
             "\"input_tokens\":%lu,\"cached_input_tokens\":%lu,\"output_tokens\":%lu,\"delay_us\":%ld,\"chunks\":%ld,\"gap_us\":%ld}",
             d->requests, d->answers, d->streams, d->cancelled, d->refused, d->connections, d->body_bytes,
             d->input_tokens, d->cached_input_tokens, d->output_tokens, d->delay_us, d->chunks, d->gap_us);
    return emit_json(s, "200 OK", json);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static const char *in_margins(const char *body, size_t len, const char *what) {
    size_t n = strlen(what), margin = len < MARGIN ? len : MARGIN;
    const char *found = memmem(body, margin, what, n);
    return found ? found : memmem(body + len - margin, margin, what, n);
}

static bool is_true(const char *body, size_t len, const char *name) {
    const char *at = in_margins(body, len, name);
    if (!at) return false;
    for (at += strlen(name); *at == ' ' || *at == ':'; at++) {}
    return *at == 't';
}

static uint64_t serial_of(const char *body, size_t len) {
    const char *end = memrchr(body, '#', len);
    return end && end - body >= 17 && end[-17] == '#' ? strtoull(end - 16, NULL, 10) : 0;
}

/* Reads the head once it is whole. False: it will never be. */
static bool read_head(struct session *s) {
    char *end = memmem(s->in, s->in_len, "\r\n\r\n", 4);
    if (!end) return s->in_len < HEAD_BYTES_MAX;
    s->head_len = (size_t)(end + 4 - s->in);
    s->body_len = 0;
    s->last = false;
    for (char *line = s->in; line < end; line = (char *)memchr(line, '\n', (size_t)(end + 4 - line)) + 1) {
        if (!strncasecmp(line, "content-length:", 15)) s->body_len = strtoul(line + 15, NULL, 10);
        else if (!strncasecmp(line, "connection: close", 17)) s->last = true;
        else if (!strncasecmp(line, "transfer-encoding:", 18)) {
            emit_json(s, "411 Length Required", "{\"error\":{\"message\":\"mock: send a content-length\",\"type\":\"invalid_request_error\"}}");
            return false;
        }
    }
    return true;
}

/* Takes one whole request out of the buffer and begins its answer. */
static bool take(struct session *s) {
    char *body = s->in + s->head_len;
    size_t len = s->body_len, used = s->head_len + len;
    struct door *d = s->door;
    bool good = true;
    if (!strncmp(s->in, "GET ", 4)) {
        char *path = s->in + 4;
        path[strcspn(path, " \r")] = 0;
        good = control(s, path);
    } else if (!len || body[0] != '{' || body[len - 1] != '}' || !in_margins(body, len, "\"messages\"")) {
        d->refused++;
        good = emit_json(s, "400 Bad Request", "{\"error\":{\"message\":\"mock: not a chat request\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}");
    } else {
        s->serial = serial_of(body, len);
        s->stream = is_true(body, len, "\"stream\"");
        s->usage_wanted = s->stream && is_true(body, len, "\"include_usage\"");
        s->chunk = -1;
        s->stage = THINKING;
        d->requests++;
        d->streams += s->stream;
        d->body_bytes += len;
    }
    memmove(s->in, s->in + used, s->in_len -= used);
    s->head_len = 0;
    if (!good || s->stage == READING) return good;
    if (d->delay_us) { wait_until(s, now_ns() + (uint64_t)d->delay_us * 1000); return true; }
    return answer(s);
}

/* Goes on with what the buffer holds. False: close. */
static bool go_on(struct session *s) {
    while (s->stage == READING) {
        if (s->last && s->head_len == 0 && s->in_len == 0 && s->out_len == 0) return false;
        if (!s->in_len) return true;
        if (!s->head_len && !read_head(s)) return false;
        if (!s->head_len || s->in_len < s->head_len + s->body_len) return true;
        if (!take(s)) return false;
    }
    return true;
}

static void hang_up(struct session *s) {
    if (s->stage != READING) s->door->cancelled++;
    forget(s);
    close(s->fd);
    s->fd = -1;
    s->next_free = free_sessions;
    free_sessions = s;
}

static bool receive(struct session *s) {
    size_t wanted = s->head_len ? s->head_len + s->body_len + 1 : s->in_len + 4096;
    if (wanted < s->in_len + 4096) wanted = s->in_len + 4096;
    if (s->in_cap < wanted) s->in = grown(s->in, s->in_cap = wanted * 2);
    ssize_t n = recv(s->fd, s->in + s->in_len, s->in_cap - s->in_len - 1, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) return false;
    if (n > 0) s->in_len += (size_t)n;
    s->in[s->in_len] = 0;
    return go_on(s);
}

static void welcome(struct door *d) {
    for (int fd; (fd = accept4(d->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct session *s = free_sessions;
        if (s) free_sessions = s->next_free;
        else if (!(s = calloc(1, sizeof *s))) die("calloc");
        s->fd = fd;
        s->door = d;
        s->stage = READING;
        s->in_len = s->head_len = s->out_from = s->out_len = 0;
        s->wants_out = s->last = false;
        d->connections++;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

/* --- the beginning ------------------------------------------------------------------------------------------------ */

static void find_places(struct form *f) {
    f->len = strlen(f->text);
    f->serial = strstr(f->text, "SSSSSSSSSSSSSSSS");
    f->index = strstr(f->text, "NNNNN");
    f->sent_at = strstr(f->text, "WWWWWWWWWWWWWWWWWWW");
    f->input = strstr(f->text, "III");
    f->cached = strstr(f->text, "CC,");
    f->output = strstr(f->text, "OO,");
    f->total = strstr(f->text, "LLL");
}

#define USAGE "\"usage\":{\"prompt_tokens\":III,\"completion_tokens\":OO,\"total_tokens\":LLL,\"prompt_tokens_details\":{\"cached_tokens\":CC," \
    "\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}"
#define EVENT "{\"id\":\"chatcmpl-mock0000000000000000000000001\",\"object\":\"chat.completion.chunk\",\"created\":1760000000," \
    "\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock000001\","

static void event(struct form *f, const char *before, const char *json) {
    snprintf(f->text, sizeof f->text, "%s%zx\r\ndata: %s\n\n\r\n", before, strlen(json) + 8, json);
    find_places(f);
}

static void write_forms(void) {
    static const char json[] =
        "{\"id\":\"chatcmpl-mock0000000000000000000000001\",\"object\":\"chat.completion\",\"created\":1760000000,\"model\":\"gpt-4o-mini-2024-07-18\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The toll is two shillings, #SSSSSSSSSSSSSSSS#; the road beyond the gate is open "
        "until dusk, and carts pay double on market days.\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}]," USAGE
        ",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock000001\"}";
    snprintf(whole.text, sizeof whole.text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nx-request-id: req_mock0001\r\nopenai-processing-ms: 12\r\n\r\n%s",
             sizeof json - 1, json);
    find_places(&whole);
    event(&opening, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\nx-request-id: req_mock0001\r\n\r\n",
          EVENT "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}");
    event(&chunk_form, "", EVENT "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"#SSSSSSSSSSSSSSSS:NNNNN:WWWWWWWWWWWWWWWWWWW#\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}");
    event(&finish_form, "", EVENT "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":null}");
    event(&usage_form, "", EVENT "\"choices\":[]," USAGE "}");
}

static void open_door(const char *port) {
    struct door *d = &doors[doors_len++];
    d->port = strtol(port, NULL, 10);
    d->chunks = 64;
    d->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int one = 1;
    setsockopt(d->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)d->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(d->listener, (void *)&a, sizeof a) || listen(d->listener, 4096)) die(port);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = d};
    epoll_ctl(poller, EPOLL_CTL_ADD, d->listener, &e);
}

static bool is_door(void *p) { return (char *)p >= (char *)doors && (char *)p < (char *)(doors + DOORS_MAX); }

int main(int argc, char **argv) {
    if (argc < 2 || argc - 1 > DOORS_MAX) { fprintf(stderr, "usage: mock PORT... (at most %d)\n", DOORS_MAX); return 2; }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    write_forms();
    poller = epoll_create1(0);
    for (int i = 1; i < argc; i++) open_door(argv[i]);
    puts("open");
    fflush(stdout);
    for (struct epoll_event events[512];;) {
        struct timespec pause, *until = NULL;
        for (uint64_t now = now_ns(); heap_len; now = now_ns()) {
            struct session *s = heap[1];
            if (s->due > now) {
                pause = (struct timespec){(time_t)((s->due - now) / 1000000000u), (long)((s->due - now) % 1000000000u)};
                until = &pause;
                break;
            }
            forget(s);
            if (!answer(s) || !go_on(s)) hang_up(s);
        }
        int n = epoll_pwait2(poller, events, 512, until, NULL);
        for (int i = 0; i < n; i++) {
            if (is_door(events[i].data.ptr)) { welcome(events[i].data.ptr); continue; }
            struct session *s = events[i].data.ptr;
            if (s->fd < 0) continue;
            bool open = true;
            if (events[i].events & EPOLLOUT) open = flush(s);
            if (open && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) open = receive(s);
            if (open) open = go_on(s);
            if (!open) hang_up(s);
        }
    }
}
