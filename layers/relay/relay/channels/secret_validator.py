"""Validator of a channel's secret, made from `channels.schema` by `make schema`. Do not edit it."""

VERSION = "2.22.3"
from decimal import Decimal
import re
from fastjsonschema import JsonSchemaValueException, JsonSchemaValuesException


REGEX_PATTERNS = {
    '^[\\x21-\\x7e]+\\Z': re.compile('^[\\x21-\\x7e]+\\Z'),
    '^https?://[^\\s]+\\Z': re.compile('^https?://[^\\s]+\\Z'),
    '^[^,]*[^,\\s][^,]*\\Z': re.compile('^[^,]*[^,\\s][^,]*\\Z'),
    '^[A-Za-z0-9][A-Za-z0-9._:-]*\\Z': re.compile('^[A-Za-z0-9][A-Za-z0-9._:-]*\\Z'),
    '^(status|severity|environment|source_system|tag\\.[^\\s].{0,99})\\Z': re.compile('^(status|severity|environment|source_system|tag\\.[^\\s].{0,99})\\Z')
}

NoneType = type(None)

def validate(data, custom_formats={}, name_prefix=None):
    if not isinstance(data, (dict)):
        raise JsonSchemaValueException("" + (name_prefix or "data") + " must be object")
    data_is_dict = isinstance(data, dict)
    if data_is_dict:
        data__missing_keys = set(['inbound', 'xmatters']) - data.keys()
        if data__missing_keys:
            raise JsonSchemaValueException("" + (name_prefix or "data") + " must contain ")
        data_keys = set(data.keys())
        if "inbound" in data_keys:
            data_keys.remove("inbound")
            data__inbound = data["inbound"]
            if not isinstance(data__inbound, (dict)):
                raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound must be object")
            data__inbound_is_dict = isinstance(data__inbound, dict)
            if data__inbound_is_dict:
                data__inbound__missing_keys = set([]) - data__inbound.keys()
                if data__inbound__missing_keys:
                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound must contain ")
                data__inbound_keys = set(data__inbound.keys())
                if "basic" in data__inbound_keys:
                    data__inbound_keys.remove("basic")
                    data__inbound__basic = data__inbound["basic"]
                    if not isinstance(data__inbound__basic, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.basic must be object")
                    data__inbound__basic_is_dict = isinstance(data__inbound__basic, dict)
                    if data__inbound__basic_is_dict:
                        data__inbound__basic__missing_keys = set(['username', 'password']) - data__inbound__basic.keys()
                        if data__inbound__basic__missing_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.basic must contain ")
                        data__inbound__basic_keys = set(data__inbound__basic.keys())
                        if "username" in data__inbound__basic_keys:
                            data__inbound__basic_keys.remove("username")
                            data__inbound__basic__username = data__inbound__basic["username"]
                            if not isinstance(data__inbound__basic__username, (str)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.basic.username must be string")
                            if isinstance(data__inbound__basic__username, str):
                                data__inbound__basic__username_len = len(data__inbound__basic__username)
                                if data__inbound__basic__username_len < 1:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.basic.username must be longer than or equal to 1 characters")
                                if data__inbound__basic__username_len > 4096:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.basic.username must be shorter than or equal to 4096 characters")
                        if "password" in data__inbound__basic_keys:
                            data__inbound__basic_keys.remove("password")
                            data__inbound__basic__password = data__inbound__basic["password"]
                            if not isinstance(data__inbound__basic__password, (str)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.basic.password must be string")
                            if isinstance(data__inbound__basic__password, str):
                                data__inbound__basic__password_len = len(data__inbound__basic__password)
                                if data__inbound__basic__password_len < 1:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.basic.password must be longer than or equal to 1 characters")
                                if data__inbound__basic__password_len > 4096:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.basic.password must be shorter than or equal to 4096 characters")
                        if data__inbound__basic_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.basic must not contain "+str(data__inbound__basic_keys)+" properties")
                if "token" in data__inbound_keys:
                    data__inbound_keys.remove("token")
                    data__inbound__token = data__inbound["token"]
                    if not isinstance(data__inbound__token, (str)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.token must be string")
                    if isinstance(data__inbound__token, str):
                        data__inbound__token_len = len(data__inbound__token)
                        if data__inbound__token_len > 4096:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.token must be shorter than or equal to 4096 characters")
                        if not REGEX_PATTERNS['^[\\x21-\\x7e]+\\Z'].search(data__inbound__token):
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.token must match pattern ^[\\x21-\\x7e]+\\Z")
                if "previous" in data__inbound_keys:
                    data__inbound_keys.remove("previous")
                    data__inbound__previous = data__inbound["previous"]
                    if not isinstance(data__inbound__previous, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous must be object")
                    data__inbound__previous_is_dict = isinstance(data__inbound__previous, dict)
                    if data__inbound__previous_is_dict:
                        data__inbound__previous__missing_keys = set(['expires_at']) - data__inbound__previous.keys()
                        if data__inbound__previous__missing_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous must contain ")
                        data__inbound__previous_keys = set(data__inbound__previous.keys())
                        if "basic" in data__inbound__previous_keys:
                            data__inbound__previous_keys.remove("basic")
                            data__inbound__previous__basic = data__inbound__previous["basic"]
                            if not isinstance(data__inbound__previous__basic, (dict)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.basic must be object")
                            data__inbound__previous__basic_is_dict = isinstance(data__inbound__previous__basic, dict)
                            if data__inbound__previous__basic_is_dict:
                                data__inbound__previous__basic__missing_keys = set(['username', 'password']) - data__inbound__previous__basic.keys()
                                if data__inbound__previous__basic__missing_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.basic must contain ")
                                data__inbound__previous__basic_keys = set(data__inbound__previous__basic.keys())
                                if "username" in data__inbound__previous__basic_keys:
                                    data__inbound__previous__basic_keys.remove("username")
                                    data__inbound__previous__basic__username = data__inbound__previous__basic["username"]
                                    if not isinstance(data__inbound__previous__basic__username, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.basic.username must be string")
                                    if isinstance(data__inbound__previous__basic__username, str):
                                        data__inbound__previous__basic__username_len = len(data__inbound__previous__basic__username)
                                        if data__inbound__previous__basic__username_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.basic.username must be longer than or equal to 1 characters")
                                        if data__inbound__previous__basic__username_len > 4096:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.basic.username must be shorter than or equal to 4096 characters")
                                if "password" in data__inbound__previous__basic_keys:
                                    data__inbound__previous__basic_keys.remove("password")
                                    data__inbound__previous__basic__password = data__inbound__previous__basic["password"]
                                    if not isinstance(data__inbound__previous__basic__password, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.basic.password must be string")
                                    if isinstance(data__inbound__previous__basic__password, str):
                                        data__inbound__previous__basic__password_len = len(data__inbound__previous__basic__password)
                                        if data__inbound__previous__basic__password_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.basic.password must be longer than or equal to 1 characters")
                                        if data__inbound__previous__basic__password_len > 4096:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.basic.password must be shorter than or equal to 4096 characters")
                                if data__inbound__previous__basic_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.basic must not contain "+str(data__inbound__previous__basic_keys)+" properties")
                        if "token" in data__inbound__previous_keys:
                            data__inbound__previous_keys.remove("token")
                            data__inbound__previous__token = data__inbound__previous["token"]
                            if not isinstance(data__inbound__previous__token, (str)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.token must be string")
                            if isinstance(data__inbound__previous__token, str):
                                data__inbound__previous__token_len = len(data__inbound__previous__token)
                                if data__inbound__previous__token_len > 4096:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.token must be shorter than or equal to 4096 characters")
                                if not REGEX_PATTERNS['^[\\x21-\\x7e]+\\Z'].search(data__inbound__previous__token):
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.token must match pattern ^[\\x21-\\x7e]+\\Z")
                        if "expires_at" in data__inbound__previous_keys:
                            data__inbound__previous_keys.remove("expires_at")
                            data__inbound__previous__expiresat = data__inbound__previous["expires_at"]
                            if not isinstance(data__inbound__previous__expiresat, (str)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.expires_at must be string")
                            if isinstance(data__inbound__previous__expiresat, str):
                                data__inbound__previous__expiresat_len = len(data__inbound__previous__expiresat)
                                if data__inbound__previous__expiresat_len < 1:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.expires_at must be longer than or equal to 1 characters")
                                if data__inbound__previous__expiresat_len > 4096:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous.expires_at must be shorter than or equal to 4096 characters")
                        if data__inbound__previous_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound.previous must not contain "+str(data__inbound__previous_keys)+" properties")
                if data__inbound_keys:
                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".inbound must not contain "+str(data__inbound_keys)+" properties")
        if "xmatters" in data_keys:
            data_keys.remove("xmatters")
            data__xmatters = data["xmatters"]
            if not isinstance(data__xmatters, (dict)):
                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters must be object")
            data__xmatters_is_dict = isinstance(data__xmatters, dict)
            if data__xmatters_is_dict:
                data__xmatters__missing_keys = set(['trigger_url', 'auth']) - data__xmatters.keys()
                if data__xmatters__missing_keys:
                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters must contain ")
                data__xmatters_keys = set(data__xmatters.keys())
                if "trigger_url" in data__xmatters_keys:
                    data__xmatters_keys.remove("trigger_url")
                    data__xmatters__triggerurl = data__xmatters["trigger_url"]
                    if not isinstance(data__xmatters__triggerurl, (str)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.trigger_url must be string")
                    if isinstance(data__xmatters__triggerurl, str):
                        data__xmatters__triggerurl_len = len(data__xmatters__triggerurl)
                        if data__xmatters__triggerurl_len < 1:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.trigger_url must be longer than or equal to 1 characters")
                        if data__xmatters__triggerurl_len > 2048:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.trigger_url must be shorter than or equal to 2048 characters")
                        if not REGEX_PATTERNS['^https?://[^\\s]+\\Z'].search(data__xmatters__triggerurl):
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.trigger_url must match pattern ^https?://[^\\s]+\\Z")
                if "auth" in data__xmatters_keys:
                    data__xmatters_keys.remove("auth")
                    data__xmatters__auth = data__xmatters["auth"]
                    if not isinstance(data__xmatters__auth, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.auth must be object")
                    data__xmatters__auth_is_dict = isinstance(data__xmatters__auth, dict)
                    if data__xmatters__auth_is_dict:
                        data__xmatters__auth__missing_keys = set(['type']) - data__xmatters__auth.keys()
                        if data__xmatters__auth__missing_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.auth must contain ")
                        data__xmatters__auth_keys = set(data__xmatters__auth.keys())
                        if "type" in data__xmatters__auth_keys:
                            data__xmatters__auth_keys.remove("type")
                            data__xmatters__auth__type = data__xmatters__auth["type"]
                            if not (isinstance(data__xmatters__auth__type, str) and data__xmatters__auth__type == 'url' or isinstance(data__xmatters__auth__type, str) and data__xmatters__auth__type == 'basic' or isinstance(data__xmatters__auth__type, str) and data__xmatters__auth__type == 'api_key' or isinstance(data__xmatters__auth__type, str) and data__xmatters__auth__type == 'oauth'):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.auth.type must be one of ['url', 'basic', 'api_key', 'oauth']")
                if "recipients" in data__xmatters_keys:
                    data__xmatters_keys.remove("recipients")
                    data__xmatters__recipients = data__xmatters["recipients"]
                    if not isinstance(data__xmatters__recipients, (list, tuple)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.recipients must be array")
                    data__xmatters__recipients_is_list = isinstance(data__xmatters__recipients, (list, tuple))
                    if data__xmatters__recipients_is_list:
                        data__xmatters__recipients_len = len(data__xmatters__recipients)
                        if data__xmatters__recipients_len > 100:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.recipients must contain less than or equal to 100 items")
                        for data__xmatters__recipients_x, data__xmatters__recipients_item in enumerate(data__xmatters__recipients):
                            if not isinstance(data__xmatters__recipients_item, (str)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.recipients[{data__xmatters__recipients_x}]".format(**locals()) + " must be string")
                            if isinstance(data__xmatters__recipients_item, str):
                                data__xmatters__recipients_item_len = len(data__xmatters__recipients_item)
                                if data__xmatters__recipients_item_len > 200:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.recipients[{data__xmatters__recipients_x}]".format(**locals()) + " must be shorter than or equal to 200 characters")
                                if not REGEX_PATTERNS['^[^,]*[^,\\s][^,]*\\Z'].search(data__xmatters__recipients_item):
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.recipients[{data__xmatters__recipients_x}]".format(**locals()) + " must match pattern ^[^,]*[^,\\s][^,]*\\Z")
                if "recipients_in" in data__xmatters_keys:
                    data__xmatters_keys.remove("recipients_in")
                    data__xmatters__recipientsin = data__xmatters["recipients_in"]
                    if not (isinstance(data__xmatters__recipientsin, str) and data__xmatters__recipientsin == 'workflow' or isinstance(data__xmatters__recipientsin, str) and data__xmatters__recipientsin == 'url'):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.recipients_in must be one of ['workflow', 'url']")
                if "any_trigger_path" in data__xmatters_keys:
                    data__xmatters_keys.remove("any_trigger_path")
                    data__xmatters__anytriggerpath = data__xmatters["any_trigger_path"]
                    if not isinstance(data__xmatters__anytriggerpath, (bool)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.any_trigger_path must be boolean")
                if "callback" in data__xmatters_keys:
                    data__xmatters_keys.remove("callback")
                    data__xmatters__callback = data__xmatters["callback"]
                    if not isinstance(data__xmatters__callback, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback must be object")
                    data__xmatters__callback_is_dict = isinstance(data__xmatters__callback, dict)
                    if data__xmatters__callback_is_dict:
                        data__xmatters__callback__missing_keys = set([]) - data__xmatters__callback.keys()
                        if data__xmatters__callback__missing_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback must contain ")
                        data__xmatters__callback_keys = set(data__xmatters__callback.keys())
                        if "basic" in data__xmatters__callback_keys:
                            data__xmatters__callback_keys.remove("basic")
                            data__xmatters__callback__basic = data__xmatters__callback["basic"]
                            if not isinstance(data__xmatters__callback__basic, (dict)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.basic must be object")
                            data__xmatters__callback__basic_is_dict = isinstance(data__xmatters__callback__basic, dict)
                            if data__xmatters__callback__basic_is_dict:
                                data__xmatters__callback__basic__missing_keys = set(['username', 'password']) - data__xmatters__callback__basic.keys()
                                if data__xmatters__callback__basic__missing_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.basic must contain ")
                                data__xmatters__callback__basic_keys = set(data__xmatters__callback__basic.keys())
                                if "username" in data__xmatters__callback__basic_keys:
                                    data__xmatters__callback__basic_keys.remove("username")
                                    data__xmatters__callback__basic__username = data__xmatters__callback__basic["username"]
                                    if not isinstance(data__xmatters__callback__basic__username, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.basic.username must be string")
                                    if isinstance(data__xmatters__callback__basic__username, str):
                                        data__xmatters__callback__basic__username_len = len(data__xmatters__callback__basic__username)
                                        if data__xmatters__callback__basic__username_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.basic.username must be longer than or equal to 1 characters")
                                        if data__xmatters__callback__basic__username_len > 4096:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.basic.username must be shorter than or equal to 4096 characters")
                                if "password" in data__xmatters__callback__basic_keys:
                                    data__xmatters__callback__basic_keys.remove("password")
                                    data__xmatters__callback__basic__password = data__xmatters__callback__basic["password"]
                                    if not isinstance(data__xmatters__callback__basic__password, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.basic.password must be string")
                                    if isinstance(data__xmatters__callback__basic__password, str):
                                        data__xmatters__callback__basic__password_len = len(data__xmatters__callback__basic__password)
                                        if data__xmatters__callback__basic__password_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.basic.password must be longer than or equal to 1 characters")
                                        if data__xmatters__callback__basic__password_len > 4096:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.basic.password must be shorter than or equal to 4096 characters")
                                if data__xmatters__callback__basic_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.basic must not contain "+str(data__xmatters__callback__basic_keys)+" properties")
                        if "token" in data__xmatters__callback_keys:
                            data__xmatters__callback_keys.remove("token")
                            data__xmatters__callback__token = data__xmatters__callback["token"]
                            if not isinstance(data__xmatters__callback__token, (str)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.token must be string")
                            if isinstance(data__xmatters__callback__token, str):
                                data__xmatters__callback__token_len = len(data__xmatters__callback__token)
                                if data__xmatters__callback__token_len > 4096:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.token must be shorter than or equal to 4096 characters")
                                if not REGEX_PATTERNS['^[\\x21-\\x7e]+\\Z'].search(data__xmatters__callback__token):
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.token must match pattern ^[\\x21-\\x7e]+\\Z")
                        if "previous" in data__xmatters__callback_keys:
                            data__xmatters__callback_keys.remove("previous")
                            data__xmatters__callback__previous = data__xmatters__callback["previous"]
                            if not isinstance(data__xmatters__callback__previous, (dict)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous must be object")
                            data__xmatters__callback__previous_is_dict = isinstance(data__xmatters__callback__previous, dict)
                            if data__xmatters__callback__previous_is_dict:
                                data__xmatters__callback__previous__missing_keys = set(['expires_at']) - data__xmatters__callback__previous.keys()
                                if data__xmatters__callback__previous__missing_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous must contain ")
                                data__xmatters__callback__previous_keys = set(data__xmatters__callback__previous.keys())
                                if "basic" in data__xmatters__callback__previous_keys:
                                    data__xmatters__callback__previous_keys.remove("basic")
                                    data__xmatters__callback__previous__basic = data__xmatters__callback__previous["basic"]
                                    if not isinstance(data__xmatters__callback__previous__basic, (dict)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.basic must be object")
                                    data__xmatters__callback__previous__basic_is_dict = isinstance(data__xmatters__callback__previous__basic, dict)
                                    if data__xmatters__callback__previous__basic_is_dict:
                                        data__xmatters__callback__previous__basic__missing_keys = set(['username', 'password']) - data__xmatters__callback__previous__basic.keys()
                                        if data__xmatters__callback__previous__basic__missing_keys:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.basic must contain ")
                                        data__xmatters__callback__previous__basic_keys = set(data__xmatters__callback__previous__basic.keys())
                                        if "username" in data__xmatters__callback__previous__basic_keys:
                                            data__xmatters__callback__previous__basic_keys.remove("username")
                                            data__xmatters__callback__previous__basic__username = data__xmatters__callback__previous__basic["username"]
                                            if not isinstance(data__xmatters__callback__previous__basic__username, (str)):
                                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.basic.username must be string")
                                            if isinstance(data__xmatters__callback__previous__basic__username, str):
                                                data__xmatters__callback__previous__basic__username_len = len(data__xmatters__callback__previous__basic__username)
                                                if data__xmatters__callback__previous__basic__username_len < 1:
                                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.basic.username must be longer than or equal to 1 characters")
                                                if data__xmatters__callback__previous__basic__username_len > 4096:
                                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.basic.username must be shorter than or equal to 4096 characters")
                                        if "password" in data__xmatters__callback__previous__basic_keys:
                                            data__xmatters__callback__previous__basic_keys.remove("password")
                                            data__xmatters__callback__previous__basic__password = data__xmatters__callback__previous__basic["password"]
                                            if not isinstance(data__xmatters__callback__previous__basic__password, (str)):
                                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.basic.password must be string")
                                            if isinstance(data__xmatters__callback__previous__basic__password, str):
                                                data__xmatters__callback__previous__basic__password_len = len(data__xmatters__callback__previous__basic__password)
                                                if data__xmatters__callback__previous__basic__password_len < 1:
                                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.basic.password must be longer than or equal to 1 characters")
                                                if data__xmatters__callback__previous__basic__password_len > 4096:
                                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.basic.password must be shorter than or equal to 4096 characters")
                                        if data__xmatters__callback__previous__basic_keys:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.basic must not contain "+str(data__xmatters__callback__previous__basic_keys)+" properties")
                                if "token" in data__xmatters__callback__previous_keys:
                                    data__xmatters__callback__previous_keys.remove("token")
                                    data__xmatters__callback__previous__token = data__xmatters__callback__previous["token"]
                                    if not isinstance(data__xmatters__callback__previous__token, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.token must be string")
                                    if isinstance(data__xmatters__callback__previous__token, str):
                                        data__xmatters__callback__previous__token_len = len(data__xmatters__callback__previous__token)
                                        if data__xmatters__callback__previous__token_len > 4096:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.token must be shorter than or equal to 4096 characters")
                                        if not REGEX_PATTERNS['^[\\x21-\\x7e]+\\Z'].search(data__xmatters__callback__previous__token):
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.token must match pattern ^[\\x21-\\x7e]+\\Z")
                                if "expires_at" in data__xmatters__callback__previous_keys:
                                    data__xmatters__callback__previous_keys.remove("expires_at")
                                    data__xmatters__callback__previous__expiresat = data__xmatters__callback__previous["expires_at"]
                                    if not isinstance(data__xmatters__callback__previous__expiresat, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.expires_at must be string")
                                    if isinstance(data__xmatters__callback__previous__expiresat, str):
                                        data__xmatters__callback__previous__expiresat_len = len(data__xmatters__callback__previous__expiresat)
                                        if data__xmatters__callback__previous__expiresat_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.expires_at must be longer than or equal to 1 characters")
                                        if data__xmatters__callback__previous__expiresat_len > 4096:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous.expires_at must be shorter than or equal to 4096 characters")
                                if data__xmatters__callback__previous_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback.previous must not contain "+str(data__xmatters__callback__previous_keys)+" properties")
                        if data__xmatters__callback_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.callback must not contain "+str(data__xmatters__callback_keys)+" properties")
                if "responses" in data__xmatters_keys:
                    data__xmatters_keys.remove("responses")
                    data__xmatters__responses = data__xmatters["responses"]
                    if not isinstance(data__xmatters__responses, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses must be object")
                    data__xmatters__responses_is_dict = isinstance(data__xmatters__responses, dict)
                    if data__xmatters__responses_is_dict:
                        data__xmatters__responses__missing_keys = set([]) - data__xmatters__responses.keys()
                        if data__xmatters__responses__missing_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses must contain ")
                        data__xmatters__responses_keys = set(data__xmatters__responses.keys())
                        if "acknowledge" in data__xmatters__responses_keys:
                            data__xmatters__responses_keys.remove("acknowledge")
                            data__xmatters__responses__acknowledge = data__xmatters__responses["acknowledge"]
                            if not isinstance(data__xmatters__responses__acknowledge, (list, tuple)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.acknowledge must be array")
                            data__xmatters__responses__acknowledge_is_list = isinstance(data__xmatters__responses__acknowledge, (list, tuple))
                            if data__xmatters__responses__acknowledge_is_list:
                                data__xmatters__responses__acknowledge_len = len(data__xmatters__responses__acknowledge)
                                if data__xmatters__responses__acknowledge_len > 50:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.acknowledge must contain less than or equal to 50 items")
                                for data__xmatters__responses__acknowledge_x, data__xmatters__responses__acknowledge_item in enumerate(data__xmatters__responses__acknowledge):
                                    if not isinstance(data__xmatters__responses__acknowledge_item, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.acknowledge[{data__xmatters__responses__acknowledge_x}]".format(**locals()) + " must be string")
                                    if isinstance(data__xmatters__responses__acknowledge_item, str):
                                        data__xmatters__responses__acknowledge_item_len = len(data__xmatters__responses__acknowledge_item)
                                        if data__xmatters__responses__acknowledge_item_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.acknowledge[{data__xmatters__responses__acknowledge_x}]".format(**locals()) + " must be longer than or equal to 1 characters")
                                        if data__xmatters__responses__acknowledge_item_len > 200:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.acknowledge[{data__xmatters__responses__acknowledge_x}]".format(**locals()) + " must be shorter than or equal to 200 characters")
                        if "escalate" in data__xmatters__responses_keys:
                            data__xmatters__responses_keys.remove("escalate")
                            data__xmatters__responses__escalate = data__xmatters__responses["escalate"]
                            if not isinstance(data__xmatters__responses__escalate, (list, tuple)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.escalate must be array")
                            data__xmatters__responses__escalate_is_list = isinstance(data__xmatters__responses__escalate, (list, tuple))
                            if data__xmatters__responses__escalate_is_list:
                                data__xmatters__responses__escalate_len = len(data__xmatters__responses__escalate)
                                if data__xmatters__responses__escalate_len > 50:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.escalate must contain less than or equal to 50 items")
                                for data__xmatters__responses__escalate_x, data__xmatters__responses__escalate_item in enumerate(data__xmatters__responses__escalate):
                                    if not isinstance(data__xmatters__responses__escalate_item, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.escalate[{data__xmatters__responses__escalate_x}]".format(**locals()) + " must be string")
                                    if isinstance(data__xmatters__responses__escalate_item, str):
                                        data__xmatters__responses__escalate_item_len = len(data__xmatters__responses__escalate_item)
                                        if data__xmatters__responses__escalate_item_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.escalate[{data__xmatters__responses__escalate_x}]".format(**locals()) + " must be longer than or equal to 1 characters")
                                        if data__xmatters__responses__escalate_item_len > 200:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses.escalate[{data__xmatters__responses__escalate_x}]".format(**locals()) + " must be shorter than or equal to 200 characters")
                        if data__xmatters__responses_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.responses must not contain "+str(data__xmatters__responses_keys)+" properties")
                if "rest" in data__xmatters_keys:
                    data__xmatters_keys.remove("rest")
                    data__xmatters__rest = data__xmatters["rest"]
                    if not isinstance(data__xmatters__rest, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest must be object")
                    data__xmatters__rest_is_dict = isinstance(data__xmatters__rest, dict)
                    if data__xmatters__rest_is_dict:
                        data__xmatters__rest__missing_keys = set(['base_url', 'auth']) - data__xmatters__rest.keys()
                        if data__xmatters__rest__missing_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest must contain ")
                        data__xmatters__rest_keys = set(data__xmatters__rest.keys())
                        if "base_url" in data__xmatters__rest_keys:
                            data__xmatters__rest_keys.remove("base_url")
                            data__xmatters__rest__baseurl = data__xmatters__rest["base_url"]
                            if not isinstance(data__xmatters__rest__baseurl, (str)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest.base_url must be string")
                            if isinstance(data__xmatters__rest__baseurl, str):
                                data__xmatters__rest__baseurl_len = len(data__xmatters__rest__baseurl)
                                if data__xmatters__rest__baseurl_len < 1:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest.base_url must be longer than or equal to 1 characters")
                                if data__xmatters__rest__baseurl_len > 2048:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest.base_url must be shorter than or equal to 2048 characters")
                                if not REGEX_PATTERNS['^https?://[^\\s]+\\Z'].search(data__xmatters__rest__baseurl):
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest.base_url must match pattern ^https?://[^\\s]+\\Z")
                        if "auth" in data__xmatters__rest_keys:
                            data__xmatters__rest_keys.remove("auth")
                            data__xmatters__rest__auth = data__xmatters__rest["auth"]
                            if not isinstance(data__xmatters__rest__auth, (dict)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest.auth must be object")
                            data__xmatters__rest__auth_is_dict = isinstance(data__xmatters__rest__auth, dict)
                            if data__xmatters__rest__auth_is_dict:
                                data__xmatters__rest__auth__missing_keys = set(['type']) - data__xmatters__rest__auth.keys()
                                if data__xmatters__rest__auth__missing_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest.auth must contain ")
                                data__xmatters__rest__auth_keys = set(data__xmatters__rest__auth.keys())
                                if "type" in data__xmatters__rest__auth_keys:
                                    data__xmatters__rest__auth_keys.remove("type")
                                    data__xmatters__rest__auth__type = data__xmatters__rest__auth["type"]
                                    if not (isinstance(data__xmatters__rest__auth__type, str) and data__xmatters__rest__auth__type == 'url' or isinstance(data__xmatters__rest__auth__type, str) and data__xmatters__rest__auth__type == 'basic' or isinstance(data__xmatters__rest__auth__type, str) and data__xmatters__rest__auth__type == 'api_key' or isinstance(data__xmatters__rest__auth__type, str) and data__xmatters__rest__auth__type == 'oauth'):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest.auth.type must be one of ['url', 'basic', 'api_key', 'oauth']")
                        if data__xmatters__rest_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters.rest must not contain "+str(data__xmatters__rest_keys)+" properties")
                if data__xmatters_keys:
                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".xmatters must not contain "+str(data__xmatters_keys)+" properties")
        if "bigpanda" in data_keys:
            data_keys.remove("bigpanda")
            data__bigpanda = data["bigpanda"]
            if not isinstance(data__bigpanda, (dict)):
                raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda must be object")
            data__bigpanda_is_dict = isinstance(data__bigpanda, dict)
            if data__bigpanda_is_dict:
                data__bigpanda__missing_keys = set(['api_key']) - data__bigpanda.keys()
                if data__bigpanda__missing_keys:
                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda must contain ")
                data__bigpanda_keys = set(data__bigpanda.keys())
                if "base_url" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("base_url")
                    data__bigpanda__baseurl = data__bigpanda["base_url"]
                    if not isinstance(data__bigpanda__baseurl, (str)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.base_url must be string")
                    if isinstance(data__bigpanda__baseurl, str):
                        data__bigpanda__baseurl_len = len(data__bigpanda__baseurl)
                        if data__bigpanda__baseurl_len < 1:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.base_url must be longer than or equal to 1 characters")
                        if data__bigpanda__baseurl_len > 2048:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.base_url must be shorter than or equal to 2048 characters")
                        if not REGEX_PATTERNS['^https?://[^\\s]+\\Z'].search(data__bigpanda__baseurl):
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.base_url must match pattern ^https?://[^\\s]+\\Z")
                if "api_key" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("api_key")
                    data__bigpanda__apikey = data__bigpanda["api_key"]
                    if not isinstance(data__bigpanda__apikey, (str)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.api_key must be string")
                    if isinstance(data__bigpanda__apikey, str):
                        data__bigpanda__apikey_len = len(data__bigpanda__apikey)
                        if data__bigpanda__apikey_len > 4096:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.api_key must be shorter than or equal to 4096 characters")
                        if not REGEX_PATTERNS['^[\\x21-\\x7e]+\\Z'].search(data__bigpanda__apikey):
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.api_key must match pattern ^[\\x21-\\x7e]+\\Z")
                if "environment_id" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("environment_id")
                    data__bigpanda__environmentid = data__bigpanda["environment_id"]
                    if not isinstance(data__bigpanda__environmentid, (str)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.environment_id must be string")
                    if isinstance(data__bigpanda__environmentid, str):
                        data__bigpanda__environmentid_len = len(data__bigpanda__environmentid)
                        if data__bigpanda__environmentid_len > 200:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.environment_id must be shorter than or equal to 200 characters")
                        if not REGEX_PATTERNS['^[A-Za-z0-9][A-Za-z0-9._:-]*\\Z'].search(data__bigpanda__environmentid):
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.environment_id must match pattern ^[A-Za-z0-9][A-Za-z0-9._:-]*\\Z")
                if "environments" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("environments")
                    data__bigpanda__environments = data__bigpanda["environments"]
                    if not isinstance(data__bigpanda__environments, (list, tuple)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.environments must be array")
                    data__bigpanda__environments_is_list = isinstance(data__bigpanda__environments, (list, tuple))
                    if data__bigpanda__environments_is_list:
                        data__bigpanda__environments_len = len(data__bigpanda__environments)
                        if data__bigpanda__environments_len > 20:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.environments must contain less than or equal to 20 items")
                        def fn(var): return frozenset(dict((k, fn(v)) for k, v in var.items()).items()) if hasattr(var, "items") else tuple(fn(v) for v in var) if isinstance(var, (dict, list)) else (bool, var) if isinstance(var, bool) else var
                        if data__bigpanda__environments_len > len(set(fn(data__bigpanda__environments_x) for data__bigpanda__environments_x in data__bigpanda__environments)):
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.environments must contain unique items")
                        for data__bigpanda__environments_x, data__bigpanda__environments_item in enumerate(data__bigpanda__environments):
                            if not isinstance(data__bigpanda__environments_item, (str)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.environments[{data__bigpanda__environments_x}]".format(**locals()) + " must be string")
                            if isinstance(data__bigpanda__environments_item, str):
                                data__bigpanda__environments_item_len = len(data__bigpanda__environments_item)
                                if data__bigpanda__environments_item_len > 200:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.environments[{data__bigpanda__environments_x}]".format(**locals()) + " must be shorter than or equal to 200 characters")
                                if not REGEX_PATTERNS['^[A-Za-z0-9][A-Za-z0-9._:-]*\\Z'].search(data__bigpanda__environments_item):
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.environments[{data__bigpanda__environments_x}]".format(**locals()) + " must match pattern ^[A-Za-z0-9][A-Za-z0-9._:-]*\\Z")
                if "assign" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("assign")
                    data__bigpanda__assign = data__bigpanda["assign"]
                    if not isinstance(data__bigpanda__assign, (bool)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.assign must be boolean")
                if "actions" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("actions")
                    data__bigpanda__actions = data__bigpanda["actions"]
                    if not isinstance(data__bigpanda__actions, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.actions must be object")
                    data__bigpanda__actions_is_dict = isinstance(data__bigpanda__actions, dict)
                    if data__bigpanda__actions_is_dict:
                        data__bigpanda__actions_len = len(data__bigpanda__actions)
                        if data__bigpanda__actions_len > 50:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.actions must contain less than or equal to 50 properties")
                        data__bigpanda__actions_keys = set(data__bigpanda__actions.keys())
                        for data__bigpanda__actions_key in data__bigpanda__actions_keys:
                            if data__bigpanda__actions_key not in []:
                                data__bigpanda__actions_value = data__bigpanda__actions.get(data__bigpanda__actions_key)
                                if not isinstance(data__bigpanda__actions_value, (dict)):
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.actions.{data__bigpanda__actions_key}".format(**locals()) + " must be object")
                                data__bigpanda__actions_value_is_dict = isinstance(data__bigpanda__actions_value, dict)
                                if data__bigpanda__actions_value_is_dict:
                                    data__bigpanda__actions_value__missing_keys = set(['do']) - data__bigpanda__actions_value.keys()
                                    if data__bigpanda__actions_value__missing_keys:
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.actions.{data__bigpanda__actions_key}".format(**locals()) + " must contain ")
                                    data__bigpanda__actions_value_keys = set(data__bigpanda__actions_value.keys())
                                    if "do" in data__bigpanda__actions_value_keys:
                                        data__bigpanda__actions_value_keys.remove("do")
                                        data__bigpanda__actions_value__do = data__bigpanda__actions_value["do"]
                                        if not (isinstance(data__bigpanda__actions_value__do, str) and data__bigpanda__actions_value__do == 'resolve' or isinstance(data__bigpanda__actions_value__do, str) and data__bigpanda__actions_value__do == 'snooze' or isinstance(data__bigpanda__actions_value__do, str) and data__bigpanda__actions_value__do == 'comment'):
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.actions.{data__bigpanda__actions_key}.do".format(**locals()) + " must be one of ['resolve', 'snooze', 'comment']")
                                    if "minutes" in data__bigpanda__actions_value_keys:
                                        data__bigpanda__actions_value_keys.remove("minutes")
                                        data__bigpanda__actions_value__minutes = data__bigpanda__actions_value["minutes"]
                                        if not isinstance(data__bigpanda__actions_value__minutes, (int)) and not (isinstance(data__bigpanda__actions_value__minutes, float) and data__bigpanda__actions_value__minutes.is_integer()) or isinstance(data__bigpanda__actions_value__minutes, bool):
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.actions.{data__bigpanda__actions_key}.minutes".format(**locals()) + " must be integer")
                                        if isinstance(data__bigpanda__actions_value__minutes, (int, float, Decimal)) and not isinstance(data__bigpanda__actions_value__minutes, bool):
                                            if data__bigpanda__actions_value__minutes < 1:
                                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.actions.{data__bigpanda__actions_key}.minutes".format(**locals()) + " must be bigger than or equal to 1")
                                            if data__bigpanda__actions_value__minutes > 129000:
                                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.actions.{data__bigpanda__actions_key}.minutes".format(**locals()) + " must be smaller than or equal to 129000")
                                    if data__bigpanda__actions_value_keys:
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.actions.{data__bigpanda__actions_key}".format(**locals()) + " must not contain "+str(data__bigpanda__actions_value_keys)+" properties")
                if "email_domain" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("email_domain")
                    data__bigpanda__emaildomain = data__bigpanda["email_domain"]
                    if not isinstance(data__bigpanda__emaildomain, (str)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.email_domain must be string")
                    if isinstance(data__bigpanda__emaildomain, str):
                        data__bigpanda__emaildomain_len = len(data__bigpanda__emaildomain)
                        if data__bigpanda__emaildomain_len < 1:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.email_domain must be longer than or equal to 1 characters")
                        if data__bigpanda__emaildomain_len > 200:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.email_domain must be shorter than or equal to 200 characters")
                if "comments" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("comments")
                    data__bigpanda__comments = data__bigpanda["comments"]
                    if not isinstance(data__bigpanda__comments, (list, tuple)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.comments must be array")
                    data__bigpanda__comments_is_list = isinstance(data__bigpanda__comments, (list, tuple))
                    if data__bigpanda__comments_is_list:
                        def fn(var): return frozenset(dict((k, fn(v)) for k, v in var.items()).items()) if hasattr(var, "items") else tuple(fn(v) for v in var) if isinstance(var, (dict, list)) else (bool, var) if isinstance(var, bool) else var
                        data__bigpanda__comments_len = len(data__bigpanda__comments)
                        if data__bigpanda__comments_len > len(set(fn(data__bigpanda__comments_x) for data__bigpanda__comments_x in data__bigpanda__comments)):
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.comments must contain unique items")
                        for data__bigpanda__comments_x, data__bigpanda__comments_item in enumerate(data__bigpanda__comments):
                            if not (isinstance(data__bigpanda__comments_item, str) and data__bigpanda__comments_item == 'response' or isinstance(data__bigpanda__comments_item, str) and data__bigpanda__comments_item == 'annotation' or isinstance(data__bigpanda__comments_item, str) and data__bigpanda__comments_item == 'status' or isinstance(data__bigpanda__comments_item, str) and data__bigpanda__comments_item == 'delivery' or isinstance(data__bigpanda__comments_item, str) and data__bigpanda__comments_item == 'escalation' or isinstance(data__bigpanda__comments_item, str) and data__bigpanda__comments_item == 'failure'):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.comments[{data__bigpanda__comments_x}]".format(**locals()) + " must be one of ['response', 'annotation', 'status', 'delivery', 'escalation', 'failure']")
                if "callbacks" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("callbacks")
                    data__bigpanda__callbacks = data__bigpanda["callbacks"]
                    if not isinstance(data__bigpanda__callbacks, (bool)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.callbacks must be boolean")
                if "app_key" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("app_key")
                    data__bigpanda__appkey = data__bigpanda["app_key"]
                    if not isinstance(data__bigpanda__appkey, (str)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.app_key must be string")
                    if isinstance(data__bigpanda__appkey, str):
                        data__bigpanda__appkey_len = len(data__bigpanda__appkey)
                        if data__bigpanda__appkey_len > 4096:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.app_key must be shorter than or equal to 4096 characters")
                        if not REGEX_PATTERNS['^[\\x21-\\x7e]+\\Z'].search(data__bigpanda__appkey):
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.app_key must match pattern ^[\\x21-\\x7e]+\\Z")
                if "reconcile" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("reconcile")
                    data__bigpanda__reconcile = data__bigpanda["reconcile"]
                    if not (isinstance(data__bigpanda__reconcile, str) and data__bigpanda__reconcile == 'report' or isinstance(data__bigpanda__reconcile, str) and data__bigpanda__reconcile == 'ring' or isinstance(data__bigpanda__reconcile, bool) and data__bigpanda__reconcile is True or isinstance(data__bigpanda__reconcile, bool) and data__bigpanda__reconcile is False):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.reconcile must be one of ['report', 'ring', True, False]")
                if "reconcile_query" in data__bigpanda_keys:
                    data__bigpanda_keys.remove("reconcile_query")
                    data__bigpanda__reconcilequery = data__bigpanda["reconcile_query"]
                    if not isinstance(data__bigpanda__reconcilequery, (str)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.reconcile_query must be string")
                    if isinstance(data__bigpanda__reconcilequery, str):
                        data__bigpanda__reconcilequery_len = len(data__bigpanda__reconcilequery)
                        if data__bigpanda__reconcilequery_len < 1:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.reconcile_query must be longer than or equal to 1 characters")
                        if data__bigpanda__reconcilequery_len > 2000:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda.reconcile_query must be shorter than or equal to 2000 characters")
                if data__bigpanda_keys:
                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".bigpanda must not contain "+str(data__bigpanda_keys)+" properties")
        if "policy" in data_keys:
            data_keys.remove("policy")
            data__policy = data["policy"]
            if not isinstance(data__policy, (dict)):
                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy must be object")
            data__policy_is_dict = isinstance(data__policy, dict)
            if data__policy_is_dict:
                data__policy__missing_keys = set([]) - data__policy.keys()
                if data__policy__missing_keys:
                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy must contain ")
                data__policy_keys = set(data__policy.keys())
                if "preset" in data__policy_keys:
                    data__policy_keys.remove("preset")
                    data__policy__preset = data__policy["preset"]
                    if not (isinstance(data__policy__preset, str) and data__policy__preset == 'parity' or isinstance(data__policy__preset, str) and data__policy__preset == 'oncall'):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.preset must be one of ['parity', 'oncall']")
                if "notify_on" in data__policy_keys:
                    data__policy_keys.remove("notify_on")
                    data__policy__notifyon = data__policy["notify_on"]
                    if not isinstance(data__policy__notifyon, (list, tuple)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.notify_on must be array")
                    data__policy__notifyon_is_list = isinstance(data__policy__notifyon, (list, tuple))
                    if data__policy__notifyon_is_list:
                        def fn(var): return frozenset(dict((k, fn(v)) for k, v in var.items()).items()) if hasattr(var, "items") else tuple(fn(v) for v in var) if isinstance(var, (dict, list)) else (bool, var) if isinstance(var, bool) else var
                        data__policy__notifyon_len = len(data__policy__notifyon)
                        if data__policy__notifyon_len > len(set(fn(data__policy__notifyon_x) for data__policy__notifyon_x in data__policy__notifyon)):
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.notify_on must contain unique items")
                        for data__policy__notifyon_x, data__policy__notifyon_item in enumerate(data__policy__notifyon):
                            if not (isinstance(data__policy__notifyon_item, str) and data__policy__notifyon_item == 'opened' or isinstance(data__policy__notifyon_item, str) and data__policy__notifyon_item == 'worsened' or isinstance(data__policy__notifyon_item, str) and data__policy__notifyon_item == 'eased' or isinstance(data__policy__notifyon_item, str) and data__policy__notifyon_item == 'grew' or isinstance(data__policy__notifyon_item, str) and data__policy__notifyon_item == 'resolved' or isinstance(data__policy__notifyon_item, str) and data__policy__notifyon_item == 'reopened'):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.notify_on[{data__policy__notifyon_x}]".format(**locals()) + " must be one of ['opened', 'worsened', 'eased', 'grew', 'resolved', 'reopened']")
                if "body" in data__policy_keys:
                    data__policy_keys.remove("body")
                    data__policy__body = data__policy["body"]
                    if not (isinstance(data__policy__body, str) and data__policy__body == 'bigpanda' or isinstance(data__policy__body, str) and data__policy__body == 'xmatters'):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.body must be one of ['bigpanda', 'xmatters']")
                if "max_property_length" in data__policy_keys:
                    data__policy_keys.remove("max_property_length")
                    data__policy__maxpropertylength = data__policy["max_property_length"]
                    if not isinstance(data__policy__maxpropertylength, (int)) and not (isinstance(data__policy__maxpropertylength, float) and data__policy__maxpropertylength.is_integer()) or isinstance(data__policy__maxpropertylength, bool):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_property_length must be integer")
                    if isinstance(data__policy__maxpropertylength, (int, float, Decimal)) and not isinstance(data__policy__maxpropertylength, bool):
                        if data__policy__maxpropertylength < 30:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_property_length must be bigger than or equal to 30")
                        if data__policy__maxpropertylength > 20000:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_property_length must be smaller than or equal to 20000")
                if "priorities" in data__policy_keys:
                    data__policy_keys.remove("priorities")
                    data__policy__priorities = data__policy["priorities"]
                    if not isinstance(data__policy__priorities, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.priorities must be object")
                    data__policy__priorities_is_dict = isinstance(data__policy__priorities, dict)
                    if data__policy__priorities_is_dict:
                        data__policy__priorities__missing_keys = set([]) - data__policy__priorities.keys()
                        if data__policy__priorities__missing_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.priorities must contain ")
                        data__policy__priorities_keys = set(data__policy__priorities.keys())
                        if "critical" in data__policy__priorities_keys:
                            data__policy__priorities_keys.remove("critical")
                            data__policy__priorities__critical = data__policy__priorities["critical"]
                            if not (isinstance(data__policy__priorities__critical, str) and data__policy__priorities__critical == 'HIGH' or isinstance(data__policy__priorities__critical, str) and data__policy__priorities__critical == 'MEDIUM' or isinstance(data__policy__priorities__critical, str) and data__policy__priorities__critical == 'LOW'):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.priorities.critical must be one of ['HIGH', 'MEDIUM', 'LOW']")
                        if "warning" in data__policy__priorities_keys:
                            data__policy__priorities_keys.remove("warning")
                            data__policy__priorities__warning = data__policy__priorities["warning"]
                            if not (isinstance(data__policy__priorities__warning, str) and data__policy__priorities__warning == 'HIGH' or isinstance(data__policy__priorities__warning, str) and data__policy__priorities__warning == 'MEDIUM' or isinstance(data__policy__priorities__warning, str) and data__policy__priorities__warning == 'LOW'):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.priorities.warning must be one of ['HIGH', 'MEDIUM', 'LOW']")
                        if "unknown" in data__policy__priorities_keys:
                            data__policy__priorities_keys.remove("unknown")
                            data__policy__priorities__unknown = data__policy__priorities["unknown"]
                            if not (isinstance(data__policy__priorities__unknown, str) and data__policy__priorities__unknown == 'HIGH' or isinstance(data__policy__priorities__unknown, str) and data__policy__priorities__unknown == 'MEDIUM' or isinstance(data__policy__priorities__unknown, str) and data__policy__priorities__unknown == 'LOW'):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.priorities.unknown must be one of ['HIGH', 'MEDIUM', 'LOW']")
                        if "ok" in data__policy__priorities_keys:
                            data__policy__priorities_keys.remove("ok")
                            data__policy__priorities__ok = data__policy__priorities["ok"]
                            if not (isinstance(data__policy__priorities__ok, str) and data__policy__priorities__ok == 'HIGH' or isinstance(data__policy__priorities__ok, str) and data__policy__priorities__ok == 'MEDIUM' or isinstance(data__policy__priorities__ok, str) and data__policy__priorities__ok == 'LOW'):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.priorities.ok must be one of ['HIGH', 'MEDIUM', 'LOW']")
                        if data__policy__priorities_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.priorities must not contain "+str(data__policy__priorities_keys)+" properties")
                if "properties" in data__policy_keys:
                    data__policy_keys.remove("properties")
                    data__policy__properties = data__policy["properties"]
                    if not isinstance(data__policy__properties, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.properties must be object")
                    data__policy__properties_is_dict = isinstance(data__policy__properties, dict)
                    if data__policy__properties_is_dict:
                        data__policy__properties_len = len(data__policy__properties)
                        if data__policy__properties_len > 50:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.properties must contain less than or equal to 50 properties")
                        data__policy__properties_keys = set(data__policy__properties.keys())
                        for data__policy__properties_key in data__policy__properties_keys:
                            if data__policy__properties_key not in []:
                                data__policy__properties_value = data__policy__properties.get(data__policy__properties_key)
                                if not isinstance(data__policy__properties_value, (str)):
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.properties.{data__policy__properties_key}".format(**locals()) + " must be string")
                                if isinstance(data__policy__properties_value, str):
                                    data__policy__properties_value_len = len(data__policy__properties_value)
                                    if data__policy__properties_value_len > 20000:
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.properties.{data__policy__properties_key}".format(**locals()) + " must be shorter than or equal to 20000 characters")
                if "replace" in data__policy_keys:
                    data__policy_keys.remove("replace")
                    data__policy__replace = data__policy["replace"]
                    if not isinstance(data__policy__replace, (bool)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.replace must be boolean")
                if "confirm_resolve" in data__policy_keys:
                    data__policy_keys.remove("confirm_resolve")
                    data__policy__confirmresolve = data__policy["confirm_resolve"]
                    if not isinstance(data__policy__confirmresolve, (bool)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.confirm_resolve must be boolean")
                if "quiet_after_acknowledge" in data__policy_keys:
                    data__policy_keys.remove("quiet_after_acknowledge")
                    data__policy__quietafteracknowledge = data__policy["quiet_after_acknowledge"]
                    if not isinstance(data__policy__quietafteracknowledge, (bool)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.quiet_after_acknowledge must be boolean")
                if "mode" in data__policy_keys:
                    data__policy_keys.remove("mode")
                    data__policy__mode = data__policy["mode"]
                    if not (isinstance(data__policy__mode, str) and data__policy__mode == 'live' or isinstance(data__policy__mode, str) and data__policy__mode == 'shadow'):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.mode must be one of ['live', 'shadow']")
                if "pauses" in data__policy_keys:
                    data__policy_keys.remove("pauses")
                    data__policy__pauses = data__policy["pauses"]
                    if not isinstance(data__policy__pauses, (list, tuple)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses must be array")
                    data__policy__pauses_is_list = isinstance(data__policy__pauses, (list, tuple))
                    if data__policy__pauses_is_list:
                        data__policy__pauses_len = len(data__policy__pauses)
                        if data__policy__pauses_len > 50:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses must contain less than or equal to 50 items")
                        for data__policy__pauses_x, data__policy__pauses_item in enumerate(data__policy__pauses):
                            if not isinstance(data__policy__pauses_item, (dict)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}]".format(**locals()) + " must be object")
                            data__policy__pauses_item_is_dict = isinstance(data__policy__pauses_item, dict)
                            if data__policy__pauses_item_is_dict:
                                data__policy__pauses_item__missing_keys = set(['since', 'until', 'then']) - data__policy__pauses_item.keys()
                                if data__policy__pauses_item__missing_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}]".format(**locals()) + " must contain ")
                                data__policy__pauses_item_keys = set(data__policy__pauses_item.keys())
                                if "since" in data__policy__pauses_item_keys:
                                    data__policy__pauses_item_keys.remove("since")
                                    data__policy__pauses_item__since = data__policy__pauses_item["since"]
                                    if not isinstance(data__policy__pauses_item__since, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].since".format(**locals()) + " must be string")
                                    if isinstance(data__policy__pauses_item__since, str):
                                        data__policy__pauses_item__since_len = len(data__policy__pauses_item__since)
                                        if data__policy__pauses_item__since_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].since".format(**locals()) + " must be longer than or equal to 1 characters")
                                        if data__policy__pauses_item__since_len > 4096:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].since".format(**locals()) + " must be shorter than or equal to 4096 characters")
                                if "until" in data__policy__pauses_item_keys:
                                    data__policy__pauses_item_keys.remove("until")
                                    data__policy__pauses_item__until = data__policy__pauses_item["until"]
                                    if not isinstance(data__policy__pauses_item__until, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].until".format(**locals()) + " must be string")
                                    if isinstance(data__policy__pauses_item__until, str):
                                        data__policy__pauses_item__until_len = len(data__policy__pauses_item__until)
                                        if data__policy__pauses_item__until_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].until".format(**locals()) + " must be longer than or equal to 1 characters")
                                        if data__policy__pauses_item__until_len > 4096:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].until".format(**locals()) + " must be shorter than or equal to 4096 characters")
                                if "then" in data__policy__pauses_item_keys:
                                    data__policy__pauses_item_keys.remove("then")
                                    data__policy__pauses_item__then = data__policy__pauses_item["then"]
                                    if not (isinstance(data__policy__pauses_item__then, str) and data__policy__pauses_item__then == 'keep' or isinstance(data__policy__pauses_item__then, str) and data__policy__pauses_item__then == 'drop'):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].then".format(**locals()) + " must be one of ['keep', 'drop']")
                                if "when" in data__policy__pauses_item_keys:
                                    data__policy__pauses_item_keys.remove("when")
                                    data__policy__pauses_item__when = data__policy__pauses_item["when"]
                                    if not isinstance(data__policy__pauses_item__when, (dict)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when".format(**locals()) + " must be object")
                                    data__policy__pauses_item__when_is_dict = isinstance(data__policy__pauses_item__when, dict)
                                    if data__policy__pauses_item__when_is_dict:
                                        data__policy__pauses_item__when_len = len(data__policy__pauses_item__when)
                                        if data__policy__pauses_item__when_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when".format(**locals()) + " must contain at least 1 properties")
                                        if data__policy__pauses_item__when_len > 10:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when".format(**locals()) + " must contain less than or equal to 10 properties")
                                        data__policy__pauses_item__when_keys = set(data__policy__pauses_item__when.keys())
                                        for data__policy__pauses_item__when_key, data__policy__pauses_item__when_val in data__policy__pauses_item__when.items():
                                            if REGEX_PATTERNS['^(status|severity|environment|source_system|tag\\.[^\\s].{0,99})\\Z'].search(data__policy__pauses_item__when_key):
                                                if data__policy__pauses_item__when_key in data__policy__pauses_item__when_keys:
                                                    data__policy__pauses_item__when_keys.remove(data__policy__pauses_item__when_key)
                                                if not isinstance(data__policy__pauses_item__when_val, (str, list, tuple)):
                                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when.{data__policy__pauses_item__when_key}".format(**locals()) + " must be string or array")
                                                if isinstance(data__policy__pauses_item__when_val, str):
                                                    data__policy__pauses_item__when_val_len = len(data__policy__pauses_item__when_val)
                                                    if data__policy__pauses_item__when_val_len < 1:
                                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when.{data__policy__pauses_item__when_key}".format(**locals()) + " must be longer than or equal to 1 characters")
                                                    if data__policy__pauses_item__when_val_len > 200:
                                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when.{data__policy__pauses_item__when_key}".format(**locals()) + " must be shorter than or equal to 200 characters")
                                                data__policy__pauses_item__when_val_is_list = isinstance(data__policy__pauses_item__when_val, (list, tuple))
                                                if data__policy__pauses_item__when_val_is_list:
                                                    data__policy__pauses_item__when_val_len = len(data__policy__pauses_item__when_val)
                                                    if data__policy__pauses_item__when_val_len > 50:
                                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when.{data__policy__pauses_item__when_key}".format(**locals()) + " must contain less than or equal to 50 items")
                                                    for data__policy__pauses_item__when_val_x, data__policy__pauses_item__when_val_item in enumerate(data__policy__pauses_item__when_val):
                                                        if not isinstance(data__policy__pauses_item__when_val_item, (str)):
                                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when.{data__policy__pauses_item__when_key}[{data__policy__pauses_item__when_val_x}]".format(**locals()) + " must be string")
                                                        if isinstance(data__policy__pauses_item__when_val_item, str):
                                                            data__policy__pauses_item__when_val_item_len = len(data__policy__pauses_item__when_val_item)
                                                            if data__policy__pauses_item__when_val_item_len < 1:
                                                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when.{data__policy__pauses_item__when_key}[{data__policy__pauses_item__when_val_x}]".format(**locals()) + " must be longer than or equal to 1 characters")
                                                            if data__policy__pauses_item__when_val_item_len > 200:
                                                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when.{data__policy__pauses_item__when_key}[{data__policy__pauses_item__when_val_x}]".format(**locals()) + " must be shorter than or equal to 200 characters")
                                        if data__policy__pauses_item__when_keys:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].when".format(**locals()) + " must not contain "+str(data__policy__pauses_item__when_keys)+" properties")
                                if "reason" in data__policy__pauses_item_keys:
                                    data__policy__pauses_item_keys.remove("reason")
                                    data__policy__pauses_item__reason = data__policy__pauses_item["reason"]
                                    if not isinstance(data__policy__pauses_item__reason, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].reason".format(**locals()) + " must be string")
                                    if isinstance(data__policy__pauses_item__reason, str):
                                        data__policy__pauses_item__reason_len = len(data__policy__pauses_item__reason)
                                        if data__policy__pauses_item__reason_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].reason".format(**locals()) + " must be longer than or equal to 1 characters")
                                        if data__policy__pauses_item__reason_len > 200:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].reason".format(**locals()) + " must be shorter than or equal to 200 characters")
                                if "by" in data__policy__pauses_item_keys:
                                    data__policy__pauses_item_keys.remove("by")
                                    data__policy__pauses_item__by = data__policy__pauses_item["by"]
                                    if not isinstance(data__policy__pauses_item__by, (str)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].by".format(**locals()) + " must be string")
                                    if isinstance(data__policy__pauses_item__by, str):
                                        data__policy__pauses_item__by_len = len(data__policy__pauses_item__by)
                                        if data__policy__pauses_item__by_len < 1:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].by".format(**locals()) + " must be longer than or equal to 1 characters")
                                        if data__policy__pauses_item__by_len > 200:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}].by".format(**locals()) + " must be shorter than or equal to 200 characters")
                                if data__policy__pauses_item_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.pauses[{data__policy__pauses_x}]".format(**locals()) + " must not contain "+str(data__policy__pauses_item_keys)+" properties")
                if "routes" in data__policy_keys:
                    data__policy_keys.remove("routes")
                    data__policy__routes = data__policy["routes"]
                    if not isinstance(data__policy__routes, (list, tuple)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes must be array")
                    data__policy__routes_is_list = isinstance(data__policy__routes, (list, tuple))
                    if data__policy__routes_is_list:
                        data__policy__routes_len = len(data__policy__routes)
                        if data__policy__routes_len > 100:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes must contain less than or equal to 100 items")
                        for data__policy__routes_x, data__policy__routes_item in enumerate(data__policy__routes):
                            if not isinstance(data__policy__routes_item, (dict)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}]".format(**locals()) + " must be object")
                            data__policy__routes_item_is_dict = isinstance(data__policy__routes_item, dict)
                            if data__policy__routes_item_is_dict:
                                data__policy__routes_item__missing_keys = set(['when', 'recipients']) - data__policy__routes_item.keys()
                                if data__policy__routes_item__missing_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}]".format(**locals()) + " must contain ")
                                data__policy__routes_item_keys = set(data__policy__routes_item.keys())
                                if "when" in data__policy__routes_item_keys:
                                    data__policy__routes_item_keys.remove("when")
                                    data__policy__routes_item__when = data__policy__routes_item["when"]
                                    if not isinstance(data__policy__routes_item__when, (dict)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when".format(**locals()) + " must be object")
                                    data__policy__routes_item__when_is_dict = isinstance(data__policy__routes_item__when, dict)
                                    if data__policy__routes_item__when_is_dict:
                                        data__policy__routes_item__when_len = len(data__policy__routes_item__when)
                                        if data__policy__routes_item__when_len > 10:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when".format(**locals()) + " must contain less than or equal to 10 properties")
                                        data__policy__routes_item__when_keys = set(data__policy__routes_item__when.keys())
                                        for data__policy__routes_item__when_key, data__policy__routes_item__when_val in data__policy__routes_item__when.items():
                                            if REGEX_PATTERNS['^(status|severity|environment|source_system|tag\\.[^\\s].{0,99})\\Z'].search(data__policy__routes_item__when_key):
                                                if data__policy__routes_item__when_key in data__policy__routes_item__when_keys:
                                                    data__policy__routes_item__when_keys.remove(data__policy__routes_item__when_key)
                                                if not isinstance(data__policy__routes_item__when_val, (str, list, tuple)):
                                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when.{data__policy__routes_item__when_key}".format(**locals()) + " must be string or array")
                                                if isinstance(data__policy__routes_item__when_val, str):
                                                    data__policy__routes_item__when_val_len = len(data__policy__routes_item__when_val)
                                                    if data__policy__routes_item__when_val_len < 1:
                                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when.{data__policy__routes_item__when_key}".format(**locals()) + " must be longer than or equal to 1 characters")
                                                    if data__policy__routes_item__when_val_len > 200:
                                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when.{data__policy__routes_item__when_key}".format(**locals()) + " must be shorter than or equal to 200 characters")
                                                data__policy__routes_item__when_val_is_list = isinstance(data__policy__routes_item__when_val, (list, tuple))
                                                if data__policy__routes_item__when_val_is_list:
                                                    data__policy__routes_item__when_val_len = len(data__policy__routes_item__when_val)
                                                    if data__policy__routes_item__when_val_len > 50:
                                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when.{data__policy__routes_item__when_key}".format(**locals()) + " must contain less than or equal to 50 items")
                                                    for data__policy__routes_item__when_val_x, data__policy__routes_item__when_val_item in enumerate(data__policy__routes_item__when_val):
                                                        if not isinstance(data__policy__routes_item__when_val_item, (str)):
                                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when.{data__policy__routes_item__when_key}[{data__policy__routes_item__when_val_x}]".format(**locals()) + " must be string")
                                                        if isinstance(data__policy__routes_item__when_val_item, str):
                                                            data__policy__routes_item__when_val_item_len = len(data__policy__routes_item__when_val_item)
                                                            if data__policy__routes_item__when_val_item_len < 1:
                                                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when.{data__policy__routes_item__when_key}[{data__policy__routes_item__when_val_x}]".format(**locals()) + " must be longer than or equal to 1 characters")
                                                            if data__policy__routes_item__when_val_item_len > 200:
                                                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when.{data__policy__routes_item__when_key}[{data__policy__routes_item__when_val_x}]".format(**locals()) + " must be shorter than or equal to 200 characters")
                                        if data__policy__routes_item__when_keys:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].when".format(**locals()) + " must not contain "+str(data__policy__routes_item__when_keys)+" properties")
                                if "recipients" in data__policy__routes_item_keys:
                                    data__policy__routes_item_keys.remove("recipients")
                                    data__policy__routes_item__recipients = data__policy__routes_item["recipients"]
                                    if not isinstance(data__policy__routes_item__recipients, (list, tuple)):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].recipients".format(**locals()) + " must be array")
                                    data__policy__routes_item__recipients_is_list = isinstance(data__policy__routes_item__recipients, (list, tuple))
                                    if data__policy__routes_item__recipients_is_list:
                                        data__policy__routes_item__recipients_len = len(data__policy__routes_item__recipients)
                                        if data__policy__routes_item__recipients_len > 100:
                                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].recipients".format(**locals()) + " must contain less than or equal to 100 items")
                                        for data__policy__routes_item__recipients_x, data__policy__routes_item__recipients_item in enumerate(data__policy__routes_item__recipients):
                                            if not isinstance(data__policy__routes_item__recipients_item, (str)):
                                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].recipients[{data__policy__routes_item__recipients_x}]".format(**locals()) + " must be string")
                                            if isinstance(data__policy__routes_item__recipients_item, str):
                                                data__policy__routes_item__recipients_item_len = len(data__policy__routes_item__recipients_item)
                                                if data__policy__routes_item__recipients_item_len > 200:
                                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].recipients[{data__policy__routes_item__recipients_x}]".format(**locals()) + " must be shorter than or equal to 200 characters")
                                                if not REGEX_PATTERNS['^[^,]*[^,\\s][^,]*\\Z'].search(data__policy__routes_item__recipients_item):
                                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].recipients[{data__policy__routes_item__recipients_x}]".format(**locals()) + " must match pattern ^[^,]*[^,\\s][^,]*\\Z")
                                if "priority" in data__policy__routes_item_keys:
                                    data__policy__routes_item_keys.remove("priority")
                                    data__policy__routes_item__priority = data__policy__routes_item["priority"]
                                    if not (isinstance(data__policy__routes_item__priority, str) and data__policy__routes_item__priority == 'HIGH' or isinstance(data__policy__routes_item__priority, str) and data__policy__routes_item__priority == 'MEDIUM' or isinstance(data__policy__routes_item__priority, str) and data__policy__routes_item__priority == 'LOW'):
                                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}].priority".format(**locals()) + " must be one of ['HIGH', 'MEDIUM', 'LOW']")
                                if data__policy__routes_item_keys:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.routes[{data__policy__routes_x}]".format(**locals()) + " must not contain "+str(data__policy__routes_item_keys)+" properties")
                if "allowed_recipients" in data__policy_keys:
                    data__policy_keys.remove("allowed_recipients")
                    data__policy__allowedrecipients = data__policy["allowed_recipients"]
                    if not isinstance(data__policy__allowedrecipients, (list, tuple)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.allowed_recipients must be array")
                    data__policy__allowedrecipients_is_list = isinstance(data__policy__allowedrecipients, (list, tuple))
                    if data__policy__allowedrecipients_is_list:
                        data__policy__allowedrecipients_len = len(data__policy__allowedrecipients)
                        if data__policy__allowedrecipients_len > 100:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.allowed_recipients must contain less than or equal to 100 items")
                        for data__policy__allowedrecipients_x, data__policy__allowedrecipients_item in enumerate(data__policy__allowedrecipients):
                            if not isinstance(data__policy__allowedrecipients_item, (str)):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.allowed_recipients[{data__policy__allowedrecipients_x}]".format(**locals()) + " must be string")
                            if isinstance(data__policy__allowedrecipients_item, str):
                                data__policy__allowedrecipients_item_len = len(data__policy__allowedrecipients_item)
                                if data__policy__allowedrecipients_item_len > 200:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.allowed_recipients[{data__policy__allowedrecipients_x}]".format(**locals()) + " must be shorter than or equal to 200 characters")
                                if not REGEX_PATTERNS['^[^,]*[^,\\s][^,]*\\Z'].search(data__policy__allowedrecipients_item):
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.allowed_recipients[{data__policy__allowedrecipients_x}]".format(**locals()) + " must match pattern ^[^,]*[^,\\s][^,]*\\Z")
                if "min_seconds_between_signals" in data__policy_keys:
                    data__policy_keys.remove("min_seconds_between_signals")
                    data__policy__minsecondsbetweensignals = data__policy["min_seconds_between_signals"]
                    if not isinstance(data__policy__minsecondsbetweensignals, (int, float, Decimal)) or isinstance(data__policy__minsecondsbetweensignals, bool):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.min_seconds_between_signals must be number")
                    if isinstance(data__policy__minsecondsbetweensignals, (int, float, Decimal)) and not isinstance(data__policy__minsecondsbetweensignals, bool):
                        if data__policy__minsecondsbetweensignals < 0:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.min_seconds_between_signals must be bigger than or equal to 0")
                        if data__policy__minsecondsbetweensignals > 86400:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.min_seconds_between_signals must be smaller than or equal to 86400")
                if "max_per_minute" in data__policy_keys:
                    data__policy_keys.remove("max_per_minute")
                    data__policy__maxperminute = data__policy["max_per_minute"]
                    if not isinstance(data__policy__maxperminute, (int)) and not (isinstance(data__policy__maxperminute, float) and data__policy__maxperminute.is_integer()) or isinstance(data__policy__maxperminute, bool):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_per_minute must be integer")
                    if isinstance(data__policy__maxperminute, (int, float, Decimal)) and not isinstance(data__policy__maxperminute, bool):
                        if data__policy__maxperminute < 1:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_per_minute must be bigger than or equal to 1")
                        if data__policy__maxperminute > 1000:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_per_minute must be smaller than or equal to 1000")
                if "max_per_minute_per_recipients" in data__policy_keys:
                    data__policy_keys.remove("max_per_minute_per_recipients")
                    data__policy__maxperminuteperrecipients = data__policy["max_per_minute_per_recipients"]
                    if not isinstance(data__policy__maxperminuteperrecipients, (int)) and not (isinstance(data__policy__maxperminuteperrecipients, float) and data__policy__maxperminuteperrecipients.is_integer()) or isinstance(data__policy__maxperminuteperrecipients, bool):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_per_minute_per_recipients must be integer")
                    if isinstance(data__policy__maxperminuteperrecipients, (int, float, Decimal)) and not isinstance(data__policy__maxperminuteperrecipients, bool):
                        if data__policy__maxperminuteperrecipients < 1:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_per_minute_per_recipients must be bigger than or equal to 1")
                        if data__policy__maxperminuteperrecipients > 1000:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_per_minute_per_recipients must be smaller than or equal to 1000")
                if "max_age_seconds" in data__policy_keys:
                    data__policy_keys.remove("max_age_seconds")
                    data__policy__maxageseconds = data__policy["max_age_seconds"]
                    if not isinstance(data__policy__maxageseconds, (int, float, Decimal)) or isinstance(data__policy__maxageseconds, bool):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_age_seconds must be number")
                    if isinstance(data__policy__maxageseconds, (int, float, Decimal)) and not isinstance(data__policy__maxageseconds, bool):
                        if data__policy__maxageseconds < 60:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_age_seconds must be bigger than or equal to 60")
                        if data__policy__maxageseconds > 1209600:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.max_age_seconds must be smaller than or equal to 1209600")
                if "fallback_after_seconds" in data__policy_keys:
                    data__policy_keys.remove("fallback_after_seconds")
                    data__policy__fallbackafterseconds = data__policy["fallback_after_seconds"]
                    if not isinstance(data__policy__fallbackafterseconds, (int, float, Decimal)) or isinstance(data__policy__fallbackafterseconds, bool):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.fallback_after_seconds must be number")
                    if isinstance(data__policy__fallbackafterseconds, (int, float, Decimal)) and not isinstance(data__policy__fallbackafterseconds, bool):
                        if data__policy__fallbackafterseconds < 0:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.fallback_after_seconds must be bigger than or equal to 0")
                        if data__policy__fallbackafterseconds > 86400:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.fallback_after_seconds must be smaller than or equal to 86400")
                if "expect_share_every" in data__policy_keys:
                    data__policy_keys.remove("expect_share_every")
                    data__policy__expectshareevery = data__policy["expect_share_every"]
                    if not isinstance(data__policy__expectshareevery, (int, float, Decimal)) or isinstance(data__policy__expectshareevery, bool):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.expect_share_every must be number")
                    if isinstance(data__policy__expectshareevery, (int, float, Decimal)) and not isinstance(data__policy__expectshareevery, bool):
                        if data__policy__expectshareevery < 7200:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.expect_share_every must be bigger than or equal to 7200")
                        if data__policy__expectshareevery > 604800:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.expect_share_every must be smaller than or equal to 604800")
                if "flap" in data__policy_keys:
                    data__policy_keys.remove("flap")
                    data__policy__flap = data__policy["flap"]
                    if not isinstance(data__policy__flap, (dict)):
                        raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.flap must be object")
                    data__policy__flap_is_dict = isinstance(data__policy__flap, dict)
                    if data__policy__flap_is_dict:
                        data__policy__flap__missing_keys = set(['transitions', 'minutes']) - data__policy__flap.keys()
                        if data__policy__flap__missing_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.flap must contain ")
                        data__policy__flap_keys = set(data__policy__flap.keys())
                        if "transitions" in data__policy__flap_keys:
                            data__policy__flap_keys.remove("transitions")
                            data__policy__flap__transitions = data__policy__flap["transitions"]
                            if not isinstance(data__policy__flap__transitions, (int)) and not (isinstance(data__policy__flap__transitions, float) and data__policy__flap__transitions.is_integer()) or isinstance(data__policy__flap__transitions, bool):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.flap.transitions must be integer")
                            if isinstance(data__policy__flap__transitions, (int, float, Decimal)) and not isinstance(data__policy__flap__transitions, bool):
                                if data__policy__flap__transitions < 2:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.flap.transitions must be bigger than or equal to 2")
                                if data__policy__flap__transitions > 20:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.flap.transitions must be smaller than or equal to 20")
                        if "minutes" in data__policy__flap_keys:
                            data__policy__flap_keys.remove("minutes")
                            data__policy__flap__minutes = data__policy__flap["minutes"]
                            if not isinstance(data__policy__flap__minutes, (int, float, Decimal)) or isinstance(data__policy__flap__minutes, bool):
                                raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.flap.minutes must be number")
                            if isinstance(data__policy__flap__minutes, (int, float, Decimal)) and not isinstance(data__policy__flap__minutes, bool):
                                if data__policy__flap__minutes < 1:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.flap.minutes must be bigger than or equal to 1")
                                if data__policy__flap__minutes > 1440:
                                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.flap.minutes must be smaller than or equal to 1440")
                        if data__policy__flap_keys:
                            raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy.flap must not contain "+str(data__policy__flap_keys)+" properties")
                if data__policy_keys:
                    raise JsonSchemaValueException("" + (name_prefix or "data") + ".policy must not contain "+str(data__policy_keys)+" properties")
        if data_keys:
            raise JsonSchemaValueException("" + (name_prefix or "data") + " must not contain "+str(data_keys)+" properties")
    return data
