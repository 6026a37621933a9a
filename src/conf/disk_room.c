/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "conf/disk_room.h"

#include <inttypes.h>
#include <stdint.h>
#include <string.h>

#include "conf/conf.h"
#include "core/spec.h"
#include "util/strbuf.h"

/* What a metric takes besides its name and unit, as render_xml writes it. */
#define HOST_METRIC                                                                      \
	"  <metric type='real64' context='host' unit=''>\n    <name></name>\n"           \
	"    <value></value>\n  </metric>\n"
#define VM_ATTRIBUTES " id='12345' uuid='01234567-89ab-cdef-0123-456789abcdef'"

/* Usual values, and output that only running a command would tell. */
#define NUMBER_BYTES 16u
#define TEXT_BYTES 32u
#define XML_METRICS 8u

/* Header, padding, and the end of the document. */
#define AROUND_BYTES 256u

/* The VM that stands for all on the shared disk. */
#define USUAL_VCPUS 4u
#define USUAL_DEVICES 2u

struct need { /* bytes */
	uint64_t host, vm;
	uint64_t vcpu;   /* for each of a VM's */
	uint64_t device; /* for one of each other kind that has '*' */
};

static uint64_t metric_bytes(const struct metric_spec *spec, const char *name,
	const char *unit, enum metric_type type)
{
	return strlen(HOST_METRIC) + strlen(name) + (unit ? strlen(unit) : 0) +
		(spec->context == CONTEXT_VM ? strlen(VM_ATTRIBUTES) : 0) +
		(type == METRIC_STRING ? TEXT_BYTES : NUMBER_BYTES);
}

static uint64_t spec_bytes(const struct metric_spec *spec)
{
	uint64_t sum = 0;

	if (spec->kind == SPEC_XML)
		return XML_METRICS *
			metric_bytes(spec, spec->name, spec->unit, METRIC_STRING);
	if (spec->kind != SPEC_GROUP)
		return metric_bytes(spec, spec->name, spec->unit, spec->type);
	for (size_t i = 0; i < spec->n_variables; i++) {
		const struct spec_variable *v = &spec->variables[i];

		sum += metric_bytes(spec, v->name, v->unit, v->type);
	}
	return sum;
}

static void add_spec(struct need *need, const struct metric_spec *spec)
{
	uint64_t bytes = spec_bytes(spec);

	if (spec->context == CONTEXT_HOST)
		need->host += bytes;
	else if (!spec->source || !strchr(spec->source, '*'))
		need->vm += bytes;
	else if (strncmp(spec->source, "vcpu.", 5) == 0)
		need->vcpu += bytes;
	else
		need->device += bytes;
}

/* How many times @each has room beside @fixed. */
static uint64_t count(uint64_t size, uint64_t fixed, uint64_t each)
{
	return size > fixed ? (size - fixed) / each : 0;
}

void disk_room_describe(const struct conf *conf, struct strbuf *out)
{
	struct need need = { .host = AROUND_BYTES };
	uint64_t size = conf->disk_size_bytes;

	for (size_t i = 0; i < conf->specs->n; i++)
		if (conf->specs->specs[i].guest &&
			conf->specs->specs[i].type != METRIC_HISTOGRAM)
			add_spec(&need, &conf->specs->specs[i]);
	uint64_t devices = USUAL_DEVICES * need.device;
	uint64_t usual = need.vm + USUAL_VCPUS * need.vcpu + devices;

	if (need.vcpu && conf->transports & TRANSPORT_VBD)
		strbuf_addf(out,
			"  room on a private disk: about %" PRIu64 " virtual CPUs\n",
			count(size, need.host + need.vm + devices, need.vcpu));
	else if (conf->transports & TRANSPORT_VBD)
		strbuf_addf(out, "  room on a private disk: %sfor all metrics\n",
			size > need.host + need.vm + devices ? "" : "not ");
	if (usual && conf_has_shared_disk(conf))
		strbuf_addf(out,
			"  room on the shared disk: about %" PRIu64
			" VMs of %u virtual CPUs\n",
			count(size, need.host, usual), USUAL_VCPUS);
}
