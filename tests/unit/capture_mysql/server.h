/* A server that speaks the client's protocol on 127.0.0.1 and answers by a script: the latest
 * answer whose beginning a command has counts, before those of an ordinary server with one table,
 * shop.t (id int primary key, a varchar(20)). What nobody wrote an answer for is an error that
 * names it. One thread for all connections. */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/capture/mysql/mysql.h"
#include "common/bytes.h"
#include "common/mem.h"
#include "common/thread.h"
#include "tests/unit/capture_mysql/log.h"

#define SERVER_CONNECTIONS_MAX 16
#define SERVER_ANSWERS_MAX 64
#define SERVER_COMMAND_BYTES 4096
#define SERVER_UUID "61616161-6161-6161-6161-616161616161"
#define COMMAND_QUIT 1
#define COMMAND_QUERY 3
#define COMMAND_DUMP 18

typedef struct Answer {
    const char *to; /* "SELECT …"; a dump is "DUMP <file> <offset> <server id>" */
    const char
        *rows; /* lines of values, tabs between them, \N for null; NULL: OK, or nothing and cut */
    unsigned error;   /* instead, with rows as its text */
    const Bytes *raw; /* instead: packets, as they are */
    bool cut;         /* then the connection ends */
} Answer;

#define OK(command)                                                                                \
    {                                                                                              \
        .to = (command)                                                                            \
    }
#define SAYS(command, text)                                                                        \
    {                                                                                              \
        .to = (command), .rows = (text)                                                            \
    }
#define FAILS(command, number, text)                                                               \
    {                                                                                              \
        .to = (command), .error = (number), .rows = (text)                                         \
    }

typedef struct ServerConnection {
    int fd; /* -1: free */
    bool known;
} ServerConnection;

typedef struct Server {
    const char *version;
    const char *refusal; /* whoever logs in is refused with this */
    unsigned refusal_number;
    uint16_t port;
    int listener, stop_fd;
    Thread *thread;
    pthread_mutex_t lock; /* of the two below */
    Answer answers[SERVER_ANSWERS_MAX];
    size_t answer_count;
    Bytes asked; /* every command, a line each */
    ServerConnection connections[SERVER_CONNECTIONS_MAX];
} Server;

static const Answer server_usual[] = {
    OK("SET "),
    OK("START TRANSACTION"),
    OK("SAVEPOINT "),
    OK("ROLLBACK TO "),
    OK("FLUSH TABLES"),
    OK("UNLOCK TABLES"),
    OK("KILL "),
    SAYS("SHOW GLOBAL VARIABLES LIKE 'log_bin'", "log_bin\tON"),
    SAYS("SHOW GLOBAL VARIABLES LIKE 'binlog_format'", "binlog_format\tROW"),
    SAYS("SHOW GLOBAL VARIABLES LIKE 'binlog_row_image'", "binlog_row_image\tFULL"),
    SAYS("SHOW GLOBAL VARIABLES LIKE 'binlog_row_value_options'", "binlog_row_value_options\t"),
    SAYS("SHOW GLOBAL VARIABLES LIKE 'binlog_row_metadata'", "binlog_row_metadata\tFULL"),
    SAYS("SHOW GLOBAL VARIABLES LIKE 'gtid_mode'", "gtid_mode\tON"),
    SAYS("SHOW GLOBAL VARIABLES LIKE 'server_uuid'", "server_uuid\t" SERVER_UUID),
    SAYS("SHOW GLOBAL VARIABLES LIKE 'server_uid'", "server_uid\tabc"),
    SAYS("SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'",
         "innodb_native_foreign_keys\tOFF"),
    SAYS("SHOW MASTER STATUS", "binlog.000007\t4711\t\t"),
    SAYS("SHOW STATUS LIKE 'binlog_snapshot_%'",
         "Binlog_snapshot_file\tbinlog.000007\nBinlog_snapshot_position\t4711"),
    SAYS("SELECT BINLOG_GTID_POS(", "0-1-9"),
    SAYS("SHOW GLOBAL VARIABLES WHERE", "binlog_expire_logs_seconds\t86400"),
    SAYS("SHOW BINARY LOG STATUS", "binlog.000007\t4711\t\t\t"),
    SAYS("SHOW BINARY LOGS", "binlog.000006\t99999\tNo\nbinlog.000007\t4711\tNo"),
    SAYS("SELECT id, character_set_name", "45\tutf8mb4\n63\tbinary"),
    SAYS("SELECT table_name, engine", "t\tInnoDB\t3\t1000"),
    SAYS("SELECT column_name, column_type, coalesce",
         "id\tint\t\tNO\na\tvarchar(20)\tutf8mb4\tYES"),
    SAYS("SELECT column_name FROM information_schema.statistics", "id"),
    SAYS("SELECT column_name, column_type FROM", "id\tint\na\tvarchar(20)"),
    SAYS("SHOW CREATE TABLE `shop`.`t`", "t\tCREATE TABLE `t` (\n)"),
    SAYS("SELECT @@GLOBAL.gtid_executed", SERVER_UUID ":1-9"),
    SAYS("SELECT @@GLOBAL.gtid_purged", ""),
    SAYS("SELECT 1 FROM `shop`.`t` LIMIT 0", ""),
    SAYS("SELECT GET_LOCK(", "1"),
    SAYS("SELECT @@global.binlog_checksum", "NONE"),
};

/* --- what is sent --- */

static inline void server_packet(Bytes *to, uint8_t *number, const void *content, size_t bytes)
{
    put_le(to, bytes, 3);
    put_le(to, (*number)++, 1);
    bytes_put(to, content, bytes);
}

static inline void server_say_ok(Bytes *to, uint8_t number)
{
    server_packet(to, &number, TEXT("\0\0\0\2\0\0\0"));
}

static inline void server_say_error(Bytes *to, uint8_t number, unsigned error, const char *text)
{
    Bytes content = {0};
    put_le(&content, 0xff, 1);
    put_le(&content, error, 2);
    bytes_put(&content, "#HY000", 6);
    bytes_put(&content, text, strlen(text));
    server_packet(to, &number, content.data, content.used);
    bytes_done(&content);
}

static inline void server_value(Bytes *to, const char *text, size_t bytes)
{
    ASSERT(bytes < 251);
    put_le(to, bytes, 1);
    bytes_put(to, text, bytes);
}

/* A row of text; `text` ends at its line's end. */
static inline void server_row(Bytes *to, const char *text, size_t bytes)
{
    const char *end = text + bytes;
    for (const char *at = text;; at++) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        size_t length = (size_t)((tab ? tab : end) - at);
        if (length == 2 && memcmp(at, "\\N", 2) == 0)
            put_le(to, 251, 1);
        else
            server_value(to, at, length);
        if (!tab)
            return;
        at = tab;
    }
}

static inline void server_say_columns(Bytes *to, uint8_t *number, size_t count)
{
    Bytes content = {0};
    put_le(&content, count, 1);
    server_packet(to, number, content.data, content.used);
    for (size_t i = 0; i < count; i++) {
        content.used = 0;
        server_value(&content, TEXT("def"));
        for (int k = 0; k < 3; k++)
            server_value(&content, "", 0);
        server_value(&content, "c", 1);
        server_value(&content, "", 0);
        put_le(&content, 12, 1);
        put_le(&content, 45, 2);
        put_le(&content, 1024, 4);
        put_le(&content, 253, 1); /* a text */
        put_le(&content, 0, 2 + 1 + 2);
        server_packet(to, number, content.data, content.used);
    }
    server_packet(to, number, TEXT("\xfe\0\0\2\0"));
    bytes_done(&content);
}

/* The lines' values may hold a line's end as \n between backquotes' parentheses alone: a line that
 * begins with ')' goes on the one before. */
static inline size_t server_line(const char *at)
{
    size_t bytes = strcspn(at, "\n");
    while (at[bytes] && at[bytes + 1] == ')')
        bytes += 1 + strcspn(at + bytes + 1, "\n");
    return bytes;
}

static inline void server_say_rows(Bytes *to, const char *rows)
{
    uint8_t number = 1;
    size_t columns = 1;
    Bytes content = {0};
    for (size_t i = 0, bytes = server_line(rows); i < bytes; i++)
        columns += rows[i] == '\t';
    server_say_columns(to, &number, columns);
    for (const char *at = rows; *at;) {
        size_t bytes = server_line(at);
        content.used = 0;
        server_row(&content, at, bytes);
        server_packet(to, &number, content.data, content.used);
        at += bytes + (at[bytes] == '\n');
    }
    server_packet(to, &number, TEXT("\xfe\0\0\2\0"));
    bytes_done(&content);
}

/* --- what comes --- */

static inline bool server_read(int fd, void *to, size_t bytes)
{
    for (size_t got = 0; got < bytes;) {
        ssize_t part = recv(fd, (char *)to + got, bytes - got, 0);
        if (part <= 0)
            return false;
        got += (size_t)part;
    }
    return true;
}

static inline void server_send(int fd, const Bytes *what)
{
    for (size_t put = 0; put < what->used;) {
        ssize_t part = send(fd, what->data + put, what->used - put, MSG_NOSIGNAL);
        if (part <= 0)
            return; /* the other side has left: its test says what it makes of that */
        put += (size_t)part;
    }
}

static inline void server_greet(const Server *server, int fd)
{
    Bytes content = {0}, out = {0};
    uint8_t number = 0;
    put_le(&content, 10, 1);
    bytes_put(&content, server->version, strlen(server->version) + 1);
    put_le(&content, 7, 4);
    bytes_put(&content, "saltsalt", 9);
    put_le(&content, 0xa20d, 2); /* protocol 4.1, a database, transactions, secure passwords */
    put_le(&content, 45, 1);
    put_le(&content, 2, 2);
    put_le(&content, 0x0008, 2); /* authentication by plugins */
    put_le(&content, 21, 1);
    put_le(&content, 0, 8);
    put_le(&content, 0, 2);
    bytes_put(&content, "saltsaltsalt", 13);
    bytes_put(&content, "mysql_native_password", 22);
    server_packet(&out, &number, content.data, content.used);
    server_send(fd, &out);
    bytes_done(&content);
    bytes_done(&out);
}

static inline Answer server_find(Server *server, const char *command)
{
    Answer found = {.error = 1064, .rows = "not in the script"};
    bool any = false;
    pthread_mutex_lock(&server->lock);
    for (size_t i = server->answer_count; i > 0 && !any; i--) {
        any = strncmp(command, server->answers[i - 1].to, strlen(server->answers[i - 1].to)) == 0;
        found = any ? server->answers[i - 1] : found;
    }
    for (size_t i = 0; i < ARRAY_LEN(server_usual) && !any; i++) {
        any = strncmp(command, server_usual[i].to, strlen(server_usual[i].to)) == 0;
        found = any ? server_usual[i] : found;
    }
    bytes_put(&server->asked, command, strlen(command));
    bytes_put_u8(&server->asked, '\n');
    pthread_mutex_unlock(&server->lock);
    if (!any)
        fprintf(stderr, "not in the script: %s\n", command);
    return found;
}

static inline bool server_answer_command(Server *server, int fd, char *packet, size_t bytes)
{
    char command[SERVER_COMMAND_BYTES + 64] = "";
    uint32_t offset, replica;
    Bytes out = {0};
    switch (packet[0]) {
    case COMMAND_QUIT:
        return false;
    case COMMAND_QUERY:
        snprintf(command, sizeof command, "%s", packet + 1);
        break;
    case COMMAND_DUMP:
        ASSERT(bytes > 11);
        memcpy(&offset, packet + 1, 4);
        memcpy(&replica, packet + 7, 4);
        snprintf(command, sizeof command, "DUMP %s %u %u", packet + 11, offset, replica);
        break;
    default:
        snprintf(command, sizeof command, "SET "); /* a ping: fine */
    }
    Answer answer = server_find(server, command);
    if (answer.raw)
        bytes_put(&out, answer.raw->data, answer.raw->used);
    else if (answer.error)
        server_say_error(&out, 1, answer.error, answer.rows);
    else if (answer.rows)
        server_say_rows(&out, answer.rows);
    else if (!answer.cut)
        server_say_ok(&out, 1);
    server_send(fd, &out);
    bytes_done(&out);
    return !answer.cut;
}

/* False: the connection ends. */
static inline bool server_hear(Server *server, ServerConnection *connection)
{
    char packet[SERVER_COMMAND_BYTES + 1];
    uint8_t head[4];
    if (!server_read(connection->fd, head, sizeof head))
        return false;
    size_t bytes = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
    ASSERT(bytes > 0 && bytes <= SERVER_COMMAND_BYTES);
    if (!server_read(connection->fd, packet, bytes))
        return false;
    packet[bytes] = '\0';
    if (connection->known)
        return server_answer_command(server, connection->fd, packet, bytes);
    Bytes out = {0};
    if (server->refusal)
        server_say_error(&out, (uint8_t)(head[3] + 1), server->refusal_number, server->refusal);
    else
        server_say_ok(&out, (uint8_t)(head[3] + 1));
    server_send(connection->fd, &out);
    bytes_done(&out);
    connection->known = true;
    return !server->refusal;
}

static inline void server_accept(Server *server)
{
    int fd = accept(server->listener, NULL, NULL);
    for (size_t i = 0; i < SERVER_CONNECTIONS_MAX; i++)
        if (server->connections[i].fd < 0) {
            server->connections[i] = (ServerConnection){.fd = fd};
            server_greet(server, fd);
            return;
        }
    ASSERT(false);
}

static inline void server_run(void *at)
{
    Server *server = at;
    for (;;) {
        struct pollfd polled[SERVER_CONNECTIONS_MAX + 2] = {
            {.fd = server->listener, .events = POLLIN}, {.fd = server->stop_fd, .events = POLLIN}};
        for (size_t i = 0; i < SERVER_CONNECTIONS_MAX; i++)
            polled[i + 2] = (struct pollfd){.fd = server->connections[i].fd, .events = POLLIN};
        if (poll(polled, ARRAY_LEN(polled), -1) < 0)
            continue;
        if (polled[1].revents)
            return;
        for (size_t i = 0; i < SERVER_CONNECTIONS_MAX; i++)
            if (polled[i + 2].revents && !server_hear(server, &server->connections[i])) {
                close(server->connections[i].fd);
                server->connections[i] = (ServerConnection){.fd = -1};
            }
        if (polled[0].revents)
            server_accept(server);
    }
}

/* --- for tests --- */

static inline Server *server_new(const char *version)
{
    Server *server = mem_zalloc(sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof address;
    server->version = version;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    server->stop_fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &bytes), 0);
    server->port = ntohs(address.sin_port);
    pthread_mutex_init(&server->lock, NULL);
    for (size_t i = 0; i < SERVER_CONNECTIONS_MAX; i++)
        server->connections[i].fd = -1;
    server->thread = thread_start("server", server_run, server);
    return server;
}

static inline void server_free(Server *server)
{
    uint64_t one = 1;
    assert_int_equal(write(server->stop_fd, &one, sizeof one), sizeof one);
    thread_join(server->thread);
    for (size_t i = 0; i < SERVER_CONNECTIONS_MAX; i++)
        if (server->connections[i].fd >= 0)
            close(server->connections[i].fd);
    close(server->listener);
    close(server->stop_fd);
    pthread_mutex_destroy(&server->lock);
    bytes_done(&server->asked);
    free(server);
}

/* The texts of the answer, and its packets, outlive the server. */
static inline void server_answer(Server *server, Answer answer)
{
    pthread_mutex_lock(&server->lock);
    ASSERT(server->answer_count < SERVER_ANSWERS_MAX);
    server->answers[server->answer_count++] = answer;
    pthread_mutex_unlock(&server->lock);
}

/* How many commands held this. */
static inline size_t server_asked(Server *server, const char *part)
{
    size_t count = 0;
    pthread_mutex_lock(&server->lock);
    bytes_put_u8(&server->asked, '\0');
    for (const char *at = (const char *)server->asked.data; (at = strstr(at, part)); at++)
        count++;
    server->asked.used--;
    pthread_mutex_unlock(&server->lock);
    return count;
}

/* A Connector that reads it; the spec lasts until the next call. */
static inline const ConnectorSpec *server_spec(const Server *server)
{
    static char host[] = "127.0.0.1", shop[] = "shop", firn[] = "firn", secret[] = "firn-secret",
                pattern[] = "shop.*";
    static char *hosts[] = {host}, *patterns[] = {pattern};
    static ConnectorSpec spec;
    spec = (ConnectorSpec){.meta = {.name = shop, .namespace_name = shop},
                           .source_type =
                               strstr(server->version, "MariaDB") ? SOURCE_MARIADB : SOURCE_MYSQL,
                           .hosts = {hosts, 1},
                           .port = server->port,
                           .database = shop,
                           .username = firn,
                           .password = secret,
                           .tls_mode = TLS_DISABLE,
                           .include = {patterns, 1},
                           .snapshot_parallelism = 1,
                           .mysql_server_id = 5400};
    return &spec;
}

static inline Capture *server_capture(const Server *server, Error *err)
{
    static const CaptureOptions options = {0};
    return capture_mysql_open(server_spec(server), &options, err);
}
