"""Description of a dataset for machines: MLCommons Croissant, written by hand."""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from ceria_data.dataset import Dataset
from ceria_data.digest import file_sha256
from ceria_data.schema import ARRAYS, Column, TableSpec
from ceria_data.store import CONFIG, DATA, write_text

CROISSANT = "croissant.json"
_TYPES = {"int64": "sc:Integer", "float64": "sc:Float", "str": "sc:Text", "bool": "sc:Boolean"}
_KEYS = {
    "samples": ["sample"],
    "structures": ["structure"],
    "columns": ["structure", "site_id"],
    "events": ["particle", "event"],
    "exposures": ["sample", "structure"],
}
# The standard context of version 1.0 of the format.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(dataset: Dataset, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Describe a dataset as Croissant JSON-LD.

    Tables are files with one record set each; the Zarr arrays are a set of files, since
    the format knows no arrays. The description cannot hold a checksum of itself, nor of
    the card and the manifest, which are written after it.

    Parameters
    ----------
    dataset : Dataset
    files : mapping of str to mapping
        sha256 and size [bytes] of each table and of the config, by name.

    Returns
    -------
    dict
        JSON-LD of Croissant 1.0.

    References
    ----------
    .. [1] Croissant Format Specification 1.0, mlcommons.org/croissant/1.0
    """
    manifest = dataset.manifest
    return {
        "@context": deepcopy(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest["name"],
        "description": manifest["description"],
        "version": manifest["version"],
        "license": "https://creativecommons.org/licenses/by/4.0/",
        "keywords": ["HRTEM", "CeO2", "multislice", "synthetic", "segmentation"],
        "citeAs": f"{manifest['name']} {manifest['version']}, content digest "
        f"{manifest['content_digest']}; closest published work: SegDepth, arXiv:2601.17046",
        "rai:dataCollection": "Simulated: structures drawn from the distributions of config.yaml, "
        "multislice scattering, incoherent imaging, camera noise drawn per pixel.",
        "rai:dataAnnotationProtocol": "Labels follow from the atoms that scatter; none is read "
        "from an image.",
        "distribution": [
            *(_file(name, facts) for name, facts in sorted(files.items())),
            {
                "@type": "cr:FileSet",
                "@id": DATA,
                "name": DATA,
                "description": "Zarr v3 group with the arrays "
                + "; ".join(f"{a.name} ({', '.join(a.dims)}) {a.dtype}" for a in ARRAYS),
                "encodingFormat": "application/vnd+zarr",
                "includes": f"{DATA}/**",
            },
        ],
        "recordSet": [_record_set(spec) for spec in dataset.tables],
    }


def write_croissant(dataset: Dataset) -> None:
    """Write `croissant.json` beside the tables it describes.

    Parameters
    ----------
    dataset : Dataset
        With all tables and the config in its folder.
    """
    names = [f"{spec.name}.parquet" for spec in dataset.tables] + [CONFIG]
    paths = {name: dataset.folder / name for name in names}
    files = {
        name: {"sha256": file_sha256(path), "size": path.stat().st_size}
        for name, path in paths.items()
    }
    text = json.dumps(croissant(dataset, files), indent=1, ensure_ascii=False)
    write_text(dataset.folder / CROISSANT, text + "\n")


def _file(name: str, facts: Mapping[str, Any]) -> dict[str, str]:
    kind = "application/x-parquet" if name.endswith(".parquet") else "application/yaml"
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{facts['size']} B",
        "encodingFormat": kind,
        "sha256": facts["sha256"],
    }


def _record_set(spec: TableSpec) -> dict[str, Any]:
    records: dict[str, Any] = {
        "@type": "cr:RecordSet",
        "@id": spec.name,
        "name": spec.name,
        "description": f"One row is {spec.row}.",
        "field": [_field(spec, column) for column in spec.columns],
    }
    if spec.name in _KEYS:
        records["key"] = [{"@id": f"{spec.name}/{name}"} for name in _KEYS[spec.name]]
    return records


def _field(spec: TableSpec, column: Column) -> dict[str, Any]:
    unit = f" [{column.unit}]" if column.unit else ""
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{spec.name}/{column.name}",
        "name": column.name,
        "description": column.description + unit,
        "dataType": _TYPES[column.dtype],
        "source": {
            "fileObject": {"@id": f"{spec.name}.parquet"},
            "extract": {"column": column.name},
        },
    }
    if column.name == "structure" and spec.name != "structures":
        field["references"] = {"field": {"@id": "structures/structure"}}
    return field
