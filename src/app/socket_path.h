/* src/app/socket_path.h - where the admin socket of a running gateway is.
 *
 * Model:     `socket:` of the file, else <folder>/<stem>-<hash>.sock: stem and hash come from the
 *            absolute path of the file, so each file has its own gateway. The folder is the first of
 *            $XDG_RUNTIME_DIR/vivace, /run/vivace and /tmp/vivace-<uid> that can be used; a client
 *            looks in all of them. docs/adr/0004-admin-socket.md.
 * Threads:   pure but for the file system.
 */
#ifndef VV_APP_SOCKET_PATH_H
#define VV_APP_SOCKET_PATH_H
#include "base/err.h"

#define VV_SOCKET_PATH 100 /* sun_path has 108 bytes on Linux */
#define VV_SOCKET_FOLDERS 3

/* Name of the socket for a file (absolute path) or another key ("proxy-8080"). */
void vv_socket_name(const char *key, char *buf, size_t buf_bytes);
/* The index-th folder; false when there is none or its name is too long. */
bool vv_socket_folder(size_t index, char *buf, size_t buf_bytes);
/* For the server: makes the folder (0700) when needed. */
VV_MUST_CHECK enum vv_err vv_socket_path_make(const char *key, char *buf, size_t buf_bytes);
/* Absolute form of a path that need not exist; buf >= PATH_MAX. */
VV_MUST_CHECK enum vv_err vv_absolute_path(const char *path, char *buf, size_t buf_bytes);
#endif
