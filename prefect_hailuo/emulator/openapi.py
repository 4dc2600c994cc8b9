"""fal's OpenAPI document of a model, made from its input class."""

from __future__ import annotations

from typing import Any

from prefect_hailuo.endpoints import Endpoint, VideoInput

Schema = dict[str, Any]

_FILE: Schema = {
    "title": "File",
    "type": "object",
    "properties": {
        "url": {"title": "Url", "type": "string", "description": "Where the file is."},
        "content_type": {
            "title": "Content Type",
            "type": "string",
            "description": "The mime type of the file.",
        },
        "file_name": {"title": "File Name", "type": "string"},
        "file_size": {"title": "File Size", "type": "integer", "description": "Bytes."},
    },
    "x-fal-order-properties": ["url", "content_type", "file_name", "file_size"],
    "required": ["url"],
}

_QUEUE_STATUS: Schema = {
    "type": "object",
    "properties": {
        "status": {"type": "string", "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]},
        "request_id": {"type": "string", "description": "The request id."},
        "response_url": {"type": "string", "description": "Where the result is."},
        "status_url": {"type": "string", "description": "Where the status is."},
        "cancel_url": {"type": "string", "description": "Where to cancel."},
        "logs": {"type": "object", "additionalProperties": True},
        "metrics": {"type": "object", "additionalProperties": True},
        "queue_position": {"type": "integer", "description": "Place in the queue."},
    },
    "required": ["status", "request_id"],
}

_REQUEST_ID: Schema = {
    "name": "request_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "description": "Request ID"},
}


def document(input_class: type[VideoInput], url: str) -> Schema:
    """The OpenAPI 3.0.4 document of an endpoint, as fal would serve it.

    Its paths have the full-path form, which the queue answers with 405: fal's own documents have
    this flaw, and so nobody may build URLs from them.

    Args:
        input_class: The endpoint's.
        url: The queue's.

    Example:
        >>> from prefect_hailuo.endpoints import Hailuo23ProTextToVideo
        >>> sorted(document(Hailuo23ProTextToVideo, "https://queue.fal.run")["components"])
        ['schemas', 'securitySchemes']
    """
    endpoint = input_class.endpoint
    return {
        "openapi": "3.0.4",
        "info": {
            "title": f"Queue OpenAPI for {endpoint.id}",
            "version": "1.0.0",
            "description": f"The OpenAPI schema for the {endpoint.id} queue.",
            "x-fal-metadata": {
                "endpointId": endpoint.id,
                "category": endpoint.category,
                "playgroundUrl": endpoint.page,
                "documentationUrl": f"{endpoint.page}/api",
            },
        },
        "components": {
            "securitySchemes": {
                "apiKeyAuth": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
            "schemas": {
                "QueueStatus": _QUEUE_STATUS,
                endpoint.input_schema: _input_schema(input_class),
                endpoint.output_schema: _output_schema(endpoint),
                "File": _FILE,
            },
        },
        "paths": _paths(endpoint),
        "servers": [{"url": url}],
        "security": [{"apiKeyAuth": []}],
    }


def _input_schema(input_class: type[VideoInput]) -> Schema:
    schema = input_class.model_json_schema()
    properties = schema["properties"]
    for name, example in input_class.endpoint.example.items():
        properties[name]["examples"] = [example]
    return {
        "title": input_class.endpoint.input_schema,
        "type": "object",
        "properties": properties,
        "x-fal-order-properties": list(properties),
        "required": schema.get("required", []),
    }


def _output_schema(endpoint: Endpoint) -> Schema:
    return {
        "title": endpoint.output_schema,
        "type": "object",
        "properties": {
            "video": {
                "title": "Video",
                "description": "The generated video",
                "allOf": [_reference("File")],
            }
        },
        "x-fal-order-properties": ["video"],
        "required": ["video"],
    }


def _paths(endpoint: Endpoint) -> Schema:
    submit = {
        "requestBody": {"required": True, "content": _json(endpoint.input_schema)},
        "responses": _response("The request status.", "QueueStatus"),
    }
    status = {
        "parameters": [_REQUEST_ID, {"name": "logs", "in": "query", "schema": {"type": "number"}}],
        "responses": _response("The request status.", "QueueStatus"),
    }
    result = {
        "parameters": [_REQUEST_ID],
        "responses": _response("Result of the request.", endpoint.output_schema),
    }
    cancel = {
        "parameters": [_REQUEST_ID],
        "responses": {"200": {"description": "The request was cancelled."}},
    }
    request_path = f"/{endpoint.id}/requests/{{request_id}}"
    return {
        f"{request_path}/status": {"get": status},
        f"{request_path}/cancel": {"put": cancel},
        f"/{endpoint.id}": {"post": submit},
        request_path: {"get": result},
    }


def _response(description: str, schema: str) -> Schema:
    return {"200": {"description": description, "content": _json(schema)}}


def _json(schema: str) -> Schema:
    return {"application/json": {"schema": _reference(schema)}}


def _reference(schema: str) -> Schema:
    return {"$ref": f"#/components/schemas/{schema}"}
