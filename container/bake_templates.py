"""Put the templates that the app may ask for into TEMPLATEFLOW_HOME, as the image is built."""

from __future__ import annotations

import sys

from epvs_bids.anatomy.template import get_template

if __name__ == "__main__":
    for contrast in ("PDw", "T2w"):
        template = get_template(contrast=contrast)
        if not template.source.startswith("templateflow"):
            sys.exit(
                f"TemplateFlow did not give its {contrast} template: {template.name} from {template.source}."
            )
