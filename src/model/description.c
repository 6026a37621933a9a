/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/description.h"

#include <stdlib.h>

void description_done(struct description *description)
{
	for (size_t i = 0; i < description->n_nics; i++)
		free(description->nics[i]);
	free(description->nics);
	free(description->disks);
	free(description->channel_path);
	*description = (struct description){ 0 };
}
