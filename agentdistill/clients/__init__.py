"""Clients of services: one chat client for every OpenAI-compatible endpoint (vLLM, SGLang, llama.cpp, the hosted ones).

Another one, `CompletionsClient`, is for servers whose completions read and score token ids.

```python
from agentdistill.clients import ChatClient, ChatRequest, EndpointConfig

with ChatClient(EndpointConfig(url="http://localhost:8000/v1", model="judge")) as client:
    answers = client.complete([ChatRequest.of("How many legs has a spider?")])
print(answers[0].text, client.usage.summary())
```

Needs the extra `api`. Nothing here imports the HTTP library before a request is sent.
"""

from agentdistill.clients.account import Account
from agentdistill.clients.answers import AnswerCache
from agentdistill.clients.chat import ChatClient
from agentdistill.clients.completions import BadReply, CompletionsClient
from agentdistill.clients.errors import EndpointError
from agentdistill.clients.messages import ChatAnswer, ChatRequest
from agentdistill.clients.server_settings import ServerConfig
from agentdistill.clients.settings import EndpointConfig
from agentdistill.clients.usage import Usage

__all__ = [
    "Account",
    "AnswerCache",
    "BadReply",
    "ChatAnswer",
    "ChatClient",
    "ChatRequest",
    "CompletionsClient",
    "EndpointConfig",
    "EndpointError",
    "ServerConfig",
    "Usage",
]
