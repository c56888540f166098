/* src/gateway/actions/files.c - being written. */
