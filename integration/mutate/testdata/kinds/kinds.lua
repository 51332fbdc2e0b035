if n < 1 and m > 2 then
  n = 5
end
return true
