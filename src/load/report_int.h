/* src/load/report_int.h - what the reports share: numbers as people read them, names of gates. */
#ifndef VV_LOAD_REPORT_INT_H
#define VV_LOAD_REPORT_INT_H
#include "load/gates.h"
#include "load/report.h"

#define VV_LOAD_TEXT 96

/* "450ms", "4.21ms", "0.042ms", "12.5s": three digits that count. buf >= VV_LOAD_TEXT. */
const char *vv_load_ms_text(double ms, char *buf);
/* A plain number: "15000", "50.2", "0.05". */
const char *vv_load_number_text(double v, char *buf);
const char *vv_load_unit_text(double v, enum vv_load_unit unit, char *buf);

/* A gate as a line of the target table: metric, target, measured. Each >= VV_LOAD_TEXT. */
struct vv_load_gate_line {
    char metric[VV_LOAD_TEXT * 2], target[VV_LOAD_TEXT], measured[VV_LOAD_TEXT];
};
void vv_load_gate_line(const struct vv_load_verdict *v, struct vv_load_gate_line *ret);

/* No strict gate was missed, something succeeded, and the generator was not the limit. */
bool vv_load_passed(const struct vv_load_result *r, struct vv_load_judged j);
/* Users at work at the same time: asked for (closed), or the most that were (open). */
uint64_t vv_load_users(const struct vv_load_result *r);
uint64_t vv_load_planned_ns(const struct vv_load_result *r);            /* also while it runs */
double vv_load_value(const struct vv_load_result *r, const char *name); /* 0 when unknown */
/* One record of `intermediate`: what was measured in a piece of time that began at `period_ms`. */
void vv_load_report_period(const struct vv_load_result *r, uint64_t period_ms, struct vv_sb *out);
const char *vv_load_code_text(unsigned code); /* "Not Found"; "" for codes without a name */
#endif
