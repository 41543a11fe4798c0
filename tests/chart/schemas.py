"""JSON schemas for kubeconform, made from what a kube-apiserver says of itself (/openapi/v2, CRDs among it): no network, and
the version is the pinned one. Strict: an object that has named fields takes no others."""

import json

REPLACED = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"anyOf": [{"type": "number"}, {"type": "string"}]},
}


def strict(part):
    """Objects with named fields are closed."""
    if isinstance(part, list):
        return [strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    part = {key: strict(value) for key, value in part.items()}
    if isinstance(part.get("$ref"), str):
        return {"$ref": part["$ref"]}
    if part.get("x-kubernetes-int-or-string"):
        return REPLACED["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]
    open_ended = part.get("x-kubernetes-preserve-unknown-fields")
    if part.get("type") == "object" and isinstance(part.get("properties"), dict) and not open_ended:
        part.setdefault("additionalProperties", False)
    return part


def references(part):
    if isinstance(part, list):
        for item in part:
            yield from references(item)
    elif isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"].rsplit("/", 1)[1]
        for value in part.values():
            yield from references(value)


def reachable(name, definitions):
    found, ahead = {}, [name]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found[name] = definitions[name]
            ahead.extend(references(definitions[name]))
    return found


def write(openapi, directory):
    """A file for each kind, whole in itself. Returns the location to give to kubeconform."""
    directory.mkdir()
    definitions = {name: REPLACED.get(name) or strict(part) for name, part in openapi["definitions"].items()}
    for name, part in openapi["definitions"].items():
        for kind in part.get("x-kubernetes-group-version-kind", []):
            group = "-" + kind["group"].split(".")[0] if kind["group"] else ""
            path = directory / f"{kind['kind'].lower()}{group}-{kind['version']}.json"
            path.write_text(json.dumps({"$ref": f"#/definitions/{name}", "definitions": reachable(name, definitions)}))
    return f"{directory}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
