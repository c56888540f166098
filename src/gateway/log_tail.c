/* src/gateway/log_tail.c - being written. */
