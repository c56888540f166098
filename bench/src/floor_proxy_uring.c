/* bench/src/floor_proxy_uring.c - floor_proxy over io_uring: what docs/adr/0001 is judged by.
 *
 * Multishot receive on both sides; each received buffer is sent on with a send request and given
 * back to the ring when the send is complete.
 *
 *   floor_proxy_uring -p PORT -o ORIGIN_PORT
 */
#include "util.h"
#include <liburing.h>

#define BUFFERS 8192
#define BUFFER_BYTES 4096
#define GROUP 1
#define FD_MAX 65536

enum { OP_ACCEPT = 1, OP_RECV, OP_SEND };

static struct io_uring ring;
static struct io_uring_buf_ring *free_buffers;
static char *buffers;
static int peer[FD_MAX];
static int origin_port;

static uint64_t tag(uint64_t op, unsigned buffer, int fd)
{
    return op << 48 | (uint64_t)buffer << 24 | (uint32_t)fd;
}

static struct io_uring_sqe *next_sqe(void)
{
    struct io_uring_sqe *s = io_uring_get_sqe(&ring);
    if (s == NULL) {
        io_uring_submit(&ring);
        s = io_uring_get_sqe(&ring);
        if (s == NULL) {
            die("sqe");
        }
    }
    return s;
}

static void arm_recv(int fd)
{
    struct io_uring_sqe *s = next_sqe();
    io_uring_prep_recv_multishot(s, fd, NULL, 0, 0);
    s->flags |= IOSQE_BUFFER_SELECT;
    s->buf_group = GROUP;
    io_uring_sqe_set_data64(s, tag(OP_RECV, 0, fd));
}

static void arm_accept(int listener)
{
    struct io_uring_sqe *s = next_sqe();
    io_uring_prep_multishot_accept(s, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data64(s, tag(OP_ACCEPT, 0, listener));
}

static void give_back(unsigned buffer)
{
    io_uring_buf_ring_add(free_buffers, buffers + (size_t)buffer * BUFFER_BYTES, BUFFER_BYTES,
                          (unsigned short)buffer, io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(free_buffers, 1);
}

static void ring_init(void)
{
    struct io_uring_params p = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL |
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
                                .cq_entries = 32768};
    if (io_uring_queue_init_params(8192, &ring, &p) < 0) {
        die("io_uring_queue_init");
    }
    io_uring_register_ring_fd(&ring);
    void *memory[2];
    if (posix_memalign(&memory[0], 4096, BUFFERS * sizeof(struct io_uring_buf)) != 0 ||
        posix_memalign(&memory[1], 4096, (size_t)BUFFERS * BUFFER_BYTES) != 0) {
        die("posix_memalign");
    }
    free_buffers = memory[0];
    buffers = memory[1];
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)free_buffers, .ring_entries = BUFFERS, .bgid = GROUP};
    if (io_uring_register_buf_ring(&ring, &reg, 0) != 0) {
        die("register_buf_ring");
    }
    io_uring_buf_ring_init(free_buffers);
    for (unsigned i = 0; i < BUFFERS; i++) {
        give_back(i);
    }
}

static void on_accept(const struct io_uring_cqe *cqe, int listener)
{
    if (cqe->res >= 0) {
        const int up = connect_to(origin_port);
        peer[cqe->res] = up;
        peer[up] = cqe->res;
        arm_recv(cqe->res);
        arm_recv(up);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        arm_accept(listener);
    }
}

static void on_recv(const struct io_uring_cqe *cqe, int fd)
{
    if (cqe->res == -ENOBUFS) {
        arm_recv(fd);
        return;
    }
    if (cqe->res <= 0) {
        if (peer[fd] >= 0) {
            shutdown(peer[fd], SHUT_RDWR); /* ends the other side's receive */
            peer[peer[fd]] = -1;
            peer[fd] = -1;
        }
        close(fd);
        return;
    }
    const unsigned buffer = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
    if (peer[fd] < 0) {
        give_back(buffer);
    } else {
        struct io_uring_sqe *s = next_sqe();
        io_uring_prep_send(s, peer[fd], buffers + (size_t)buffer * BUFFER_BYTES, (size_t)cqe->res,
                           MSG_NOSIGNAL | MSG_WAITALL);
        io_uring_sqe_set_data64(s, tag(OP_SEND, buffer, peer[fd]));
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        arm_recv(fd);
    }
}

int main(int argc, char **argv)
{
    int port = 8080, option;
    while ((option = getopt(argc, argv, "p:o:")) != -1) {
        switch (option) {
        case 'p':
            port = atoi(optarg);
            break;
        case 'o':
            origin_port = atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    raise_nofile(FD_MAX);
    ring_init();
    arm_accept(listen_on(port, false));
    for (;;) {
        const int rc = io_uring_submit_and_wait(&ring, 1);
        if (rc < 0 && rc != -EINTR && rc != -EBUSY) {
            die("submit_and_wait");
        }
        struct io_uring_cqe *cqe;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            const int fd = (int)(cqe->user_data & 0xffffff);
            seen++;
            switch (cqe->user_data >> 48) {
            case OP_ACCEPT:
                on_accept(cqe, fd);
                break;
            case OP_RECV:
                on_recv(cqe, fd);
                break;
            default:
                give_back((unsigned)(cqe->user_data >> 24 & 0xffffff));
                break;
            }
        }
        io_uring_cq_advance(&ring, seen);
    }
}
