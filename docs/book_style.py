"The colours of code, on paper and on night: those of the figures, deep enough to be read (contrast 4.5 and more)"
from pygments.style import Style
from pygments.token import Comment, Error, Generic, Keyword, Name, Number, Operator, String, Token

def palette(text, quiet, blue, green, orange, purple):
    return {Token: text, Comment: quiet, Keyword: blue, Keyword.Constant: orange, Operator.Word: blue, Number: orange,
            String: green, String.Escape: orange, String.Interpol: text, Name.Decorator: purple, Name.Function: f'bold {text}', Name.Class: f'bold {text}',
            Name.Function.Magic: f'bold {text}', Name.Builtin: text, Name.Builtin.Pseudo: purple, Name.Exception: text,
            Generic.Prompt: quiet, Generic.Output: quiet, Error: text}

class Light(Style):
    background_color,highlight_color = '#f6f4ee','#ece8dc'
    styles = palette('#2a2a28', '#68665e', '#17618c', '#18664d', '#9a4a00', '#7b3f8c')

class Dark(Style):
    background_color,highlight_color = '#1c1d20','#2a2b30'
    styles = palette('#d9d6ce', '#9d9a92', '#7dbfe3', '#82c9a8', '#eda766', '#cfa3dd')
