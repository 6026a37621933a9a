/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The metrics disk's format (formats: the metrics disk): a header of four big-endian 32-bit
 * words, the content, zeros to the end of the disk.  Pure functions.  An image is a blob
 * that holds header and content; the zeros are left to whoever serves it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct blob;
struct strbuf;

#define IMAGE_SIGNATURE 0x6d766264u /* "mvbd" */
#define IMAGE_HEADER_BYTES 16u

struct image_header {
	uint32_t signature; /* offset 0 */
	uint32_t busy;      /* offset 4: 0 = the content is stable */
	uint32_t checksum;  /* offset 8: image_checksum() of the content */
	uint32_t length;    /* offset 12: of the content, bytes */
};

/* Sum of the bytes modulo 2^32.  Content is ASCII, so their signedness does not matter. */
uint32_t image_checksum(const void *content, size_t len);

/*
 * Guests see a change by the sum alone, and nobody can tell which image a guest has seen
 * last.  So the sum follows the time: modulo IMAGE_SUMS it is the number of the
 * IMAGE_TICK_NS in which the image was made.  Images of different ticks never have the same
 * sum, unless they are a multiple of 818.6 s apart, to the tick.
 */
#define IMAGE_SUMS                                                                       \
	4093u /* prime: hardly any period of whole seconds comes near a multiple */
#define IMAGE_TICK_NS INT64_C(200000000)

/* The white space behind the document that makes its sum what it is to be, at most. */
#define IMAGE_PADDING_MAX 139u

/*
 * Behind a document that is for one VM alone, whatever uuid that believes to have: a guest that
 * finds one VM in a document cannot know otherwise whether it is itself.  XML's white space, which
 * no padding has.
 */
#define IMAGE_OWN_MARK '\r'

/*
 * Makes an image.
 * @content: the document, and IMAGE_OWN_MARK if it is that of one VM; cut if it does not fit
 * (render_xml_fit()), but for the mark; gets its padding: spaces,
 * tabs, newlines, the last a newline.
 * @made_ns: monotonic; images of one disk are IMAGE_TICK_NS apart at least.
 * @disk_bytes: the disk's size, at least LIMIT_DISK_BYTES_MIN.
 * Return: an image that the caller owns; *@ret_left_out: how many metrics it lacks.
 */
struct blob *image_new(struct strbuf *content, uint64_t generation, int64_t time_ns,
	int64_t made_ns, uint64_t disk_bytes, size_t *ret_left_out);

/* The image of a disk before anything was collected: busy, empty. */
struct blob *image_busy(void);

/* A copy whose header says that the content is about to change. */
struct blob *image_make_busy(const struct blob *image);

/* Reads a header.  Return: 0, or -EINVAL if it is none. */
int image_parse_header(const void *data, size_t len, struct image_header *ret);
