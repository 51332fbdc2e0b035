package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// goEdits returns the changes of a source file in Go.
func goEdits(source []byte) ([]edit, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	w := &walker{source: source, base: files.File(file.Pos()).Base()}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if w.fn = funcName(d); d.Body != nil && !leftOutFunc(w.fn) {
				w.body(d.Type, d.Body)
			}
		case *ast.GenDecl:
			if d.Tok == token.CONST {
				w.fn = "const"
				ast.Inspect(d, w.visit)
			}
		}
	}
	return w.edits, nil
}

// funcName returns the name of a function, after that of its receiver.
func funcName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	receiver := d.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if of, ok := receiver.(*ast.IndexExpr); ok {
		receiver = of.X
	}
	return receiver.(*ast.Ident).Name + "." + d.Name.Name
}

// walker collects changes.
type walker struct {
	source []byte
	base   int
	fn     string
	edits  []edit

	constants bool // are declared here
}

func (w *walker) text(n ast.Node) string {
	return string(w.source[int(n.Pos())-w.base : int(n.End())-w.base])
}

// replace notes a change, and the pieces that make a choice of it in a program with all of
// them. A constant has none.
func (w *walker) replace(k kind, from, end token.Pos, with string, pieces ...piece) {
	if w.constants {
		pieces = nil
	}
	w.edits = append(w.edits, edit{w.fn, k, int(from) - w.base, int(end) - w.base, with, pieces})
}

func (w *walker) around(n ast.Node, before, after string) piece {
	return piece{start: int(n.Pos()) - w.base, end: int(n.End()) - w.base, before: before, after: after}
}

// instead is a piece in the place of what stands there.
func (w *walker) instead(from, end token.Pos, text string) piece {
	return piece{start: int(from) - w.base, end: int(end) - w.base, after: text, gone: true}
}

// flipped negates a condition in the mutant.
func (w *walker) flipped(n ast.Node) piece { return w.around(n, "((", ") != (mutant == #))") }

// body walks a function. Its last return has to stay if it returns something.
func (w *walker) body(t *ast.FuncType, b *ast.BlockStmt) {
	last := len(b.List) - 1
	if last >= 0 && t.Results != nil {
		if r, ok := b.List[last].(*ast.ReturnStmt); ok {
			w.statements(b.List[:last])
			ast.Inspect(r, w.visit)
			return
		}
	}
	w.statements(b.List)
}

// statements walks statements that follow each other.
func (w *walker) statements(list []ast.Stmt) {
	for _, s := range list {
		if quiet(w.text(s), s) {
			continue
		}
		if drops(s) {
			w.replace(statement, s.Pos(), s.End(), "", w.around(s, "if mutant != # { ", " }"))
		}
		ast.Inspect(s, w.visit)
	}
}

// drops reports whether a statement may be left out.
func drops(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.AssignStmt:
		return s.Tok != token.DEFINE
	case *ast.BranchStmt:
		return s.Tok == token.BREAK || s.Tok == token.CONTINUE
	case *ast.ExprStmt, *ast.IncDecStmt, *ast.ReturnStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt:
		return true
	}
	return false
}

// quiet reports whether a statement only counts, logs or locks.
func quiet(text string, s ast.Stmt) bool {
	switch s.(type) {
	case *ast.ExprStmt, *ast.DeferStmt, *ast.IncDecStmt:
		return quietCalls.MatchString(text)
	}
	return false
}

// visit is for ast.Inspect.
func (w *walker) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.GenDecl:
		w.constants = n.Tok == token.CONST
		for _, s := range n.Specs {
			ast.Inspect(s, w.visit)
		}
		w.constants = false
		return false
	case *ast.FuncLit:
		w.body(n.Type, n.Body)
		return false
	case *ast.BlockStmt:
		w.statements(n.List)
		return false
	case *ast.CaseClause:
		w.clause(n)
		return false
	case *ast.CommClause:
		w.statements(n.Body)
		return false
	case *ast.IfStmt:
		w.negate(n.Cond)
	case *ast.ForStmt:
		w.negate(n.Cond)
	case *ast.SwitchStmt:
		if n.Tag == nil {
			w.negateCases(n)
		}
	case *ast.BinaryExpr:
		w.binary(n)
	case *ast.BasicLit:
		w.number(n)
	case *ast.Ident:
		w.word(n)
	case *ast.CallExpr:
		return w.call(n)
	case *ast.ArrayType:
		return false
	}
	return true
}

func (w *walker) clause(c *ast.CaseClause) {
	for _, e := range c.List {
		ast.Inspect(e, w.visit)
	}
	w.statements(c.Body)
}

func (w *walker) negateCases(s *ast.SwitchStmt) {
	for _, c := range s.Body.List {
		for _, e := range c.(*ast.CaseClause).List {
			w.negate(e)
		}
	}
}

// negate negates a condition, unless that is what another change does.
func (w *walker) negate(e ast.Expr) {
	if e == nil {
		return
	}
	if b, ok := e.(*ast.BinaryExpr); ok && (b.Op == token.EQL || b.Op == token.NEQ) {
		return
	}
	w.replace(negation, e.Pos(), e.End(), "!("+w.text(e)+")", w.flipped(e))
}

var swaps = map[token.Token]struct {
	kind kind
	with string
	call string // in a program with all mutants
}{
	token.LSS: {comparison, "<=", "mutantLess"}, token.LEQ: {comparison, "<", "mutantLessOrEqual"},
	token.GTR: {comparison, ">=", "mutantMore"}, token.GEQ: {comparison, ">", "mutantMoreOrEqual"},
	token.EQL: {comparison, "!=", ""}, token.NEQ: {comparison, "==", ""},
	token.LAND: {logic, "||", ""}, token.LOR: {logic, "&&", ""},
}

func (w *walker) binary(b *ast.BinaryExpr) {
	to, ok := swaps[b.Op]
	if !ok {
		return
	}
	end := b.OpPos + token.Pos(len(b.Op.String()))
	pieces := []piece{w.flipped(b)}
	switch {
	case to.kind == logic: // a || b is !(!a && !b); of a && b && c it is (a || b) && c, whatever the text binds
		pieces = append(pieces, w.flipped(b.X), w.flipped(b.Y))
	case to.call != "":
		call := w.around(b, to.call+"(#, ", ")")
		call.parts = true
		pieces = []piece{call, w.instead(b.OpPos, end, ",")}
	}
	w.replace(to.kind, b.OpPos, end, to.with, pieces...)
}

func (w *walker) number(l *ast.BasicLit) {
	if n, err := strconv.ParseInt(strings.ReplaceAll(l.Value, "_", ""), 0, 64); err == nil && l.Kind == token.INT {
		w.replace(constant, l.Pos(), l.End(), strconv.FormatInt(n+1, 10), w.instead(l.Pos(), l.End(), "mutantNext(#, $("+l.Value+"))"))
	}
}

func (w *walker) word(i *ast.Ident) {
	switch i.Name {
	case "true":
		w.replace(truth, i.Pos(), i.End(), "false", w.instead(i.Pos(), i.End(), "(mutant != #)"))
	case "false":
		w.replace(truth, i.Pos(), i.End(), "true", w.instead(i.Pos(), i.End(), "(mutant == #)"))
	}
}

// call reports whether to look into a call. How much room is made says nothing, nor does
// what is printed.
func (w *walker) call(c *ast.CallExpr) bool {
	switch name := w.text(c.Fun); {
	case name == "make", strings.HasPrefix(name, "fmt."), name == "errors.New":
		return false
	case name == "min":
		w.replace(extreme, c.Fun.Pos(), c.Fun.End(), "max", w.instead(c.Fun.Pos(), c.Lparen+1, "mutantMin(#, "))
	case name == "max":
		w.replace(extreme, c.Fun.Pos(), c.Fun.End(), "min", w.instead(c.Fun.Pos(), c.Lparen+1, "mutantMax(#, "))
	}
	return true
}
