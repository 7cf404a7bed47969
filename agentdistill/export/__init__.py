"""A trained student as a plain Hugging Face directory, with a model card, checked by loading it again.

```python
from agentdistill.export import export_run

done = export_run("runs/my-run", "my-model", registry=PluginRegistry.load())
print(done.checks)
```
"""

from agentdistill.export.run import Exported, export_run, export_student

__all__ = ["Exported", "export_run", "export_student"]
