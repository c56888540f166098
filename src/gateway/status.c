/* src/gateway/status.c - being written. */
